// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace smartkey {
namespace {

int LineOfNode(const toml::node& node) {
  return static_cast<int>(node.source().begin.line);
}

// Optimal string alignment distance.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", Printable(text, 64), "\"");
}

}  // namespace

std::vector<ConfigProblem> ConfigProblems::ByLine() const {
  std::vector<ConfigProblem> sorted = list_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const ConfigProblem& a, const ConfigProblem& b) { return a.line < b.line; });
  return sorted;
}

std::string NearestWord(absl::string_view word, const std::set<std::string>& known) {
  std::string nearest;
  size_t least = 0;
  for (const std::string& candidate : known) {
    const size_t distance = Distance(word.substr(0, 64), candidate);
    if (!nearest.empty() && distance >= least) continue;
    nearest = candidate;
    least = distance;
  }
  return nearest;
}

const toml::node* ConfigTable::Find(absl::string_view key) {
  known_.emplace(key);
  return table_.get(std::string_view(key.data(), key.size()));
}

bool ConfigTable::Has(absl::string_view key) const {
  return table_.contains(std::string_view(key.data(), key.size()));
}

int ConfigTable::LineOf(absl::string_view key) const {
  for (const auto& [name, node] : table_) {
    if (name.str() == std::string_view(key.data(), key.size())) {
      return static_cast<int>(name.source().begin.line);
    }
  }
  return line();
}

void ConfigTable::AddProblem(absl::string_view key, absl::string_view what) {
  problems_.Add(LineOf(key), absl::StrCat(Quoted(key), " in ", where_, " ", what));
}

bool ConfigTable::Wrong(absl::string_view key, absl::string_view what) {
  AddProblem(key, what);
  return false;
}

bool ConfigTable::Missing(absl::string_view key) {
  problems_.Add(line(), absl::StrCat(Quoted(key), " is missing in ", where_));
  return false;
}

bool ConfigTable::ReadString(absl::string_view key, std::string& value, const Check& check) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  if (!node->is_string()) return Wrong(key, "must be a string");
  const std::string& text = node->as_string()->get();
  if (absl::Status status = check(text); !status.ok()) return Wrong(key, status.message());
  value = text;
  return true;
}

bool ConfigTable::ReadStrings(absl::string_view key, std::vector<std::string>& value,
                              const Check& check) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  if (!node->is_array()) return Wrong(key, "must be a list of strings");
  std::vector<std::string> texts;
  bool good = true;
  for (const toml::node& item : *node->as_array()) {
    absl::Status status = absl::OkStatus();
    if (!item.is_string()) {
      status = absl::InvalidArgumentError("must be a list of strings");
    } else {
      texts.push_back(item.as_string()->get());
      status = check(texts.back());
    }
    if (status.ok()) continue;
    // The line of the item: lists are often written over several.
    problems_.Add(LineOfNode(item),
                  absl::StrCat(Quoted(key), " in ", where_, " ", status.message()));
    good = false;
  }
  if (good) value = std::move(texts);
  return good;
}

bool ConfigTable::ReadBool(absl::string_view key, bool& value) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  if (!node->is_boolean()) return Wrong(key, "must be true or false");
  value = node->as_boolean()->get();
  return true;
}

bool ConfigTable::ReadInt(absl::string_view key, int& value, int least, int most) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  if (!node->is_integer() || node->as_integer()->get() < least ||
      node->as_integer()->get() > most) {
    return Wrong(key, absl::StrCat("must be a whole number from ", least, " to ", most));
  }
  value = static_cast<int>(node->as_integer()->get());
  return true;
}

bool ConfigTable::ReadChoice(absl::string_view key, std::string& value,
                             std::initializer_list<absl::string_view> choices) {
  return ReadString(key, value, [&](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) != choices.end()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("must be ", absl::StrJoin(choices, " or ", [](std::string* out, auto choice) {
                       absl::StrAppend(out, Quoted(choice));
                     })));
  });
}

bool ConfigTable::RequireString(absl::string_view key, std::string& value, const Check& check) {
  return ReadString(key, value, check) || (!Has(key) && Missing(key));
}

bool ConfigTable::RequireStrings(absl::string_view key, std::vector<std::string>& value,
                                 const Check& check) {
  if (!ReadStrings(key, value, check)) return !Has(key) && Missing(key);
  return !value.empty() || Wrong(key, "must not be empty");
}

void ConfigTable::ReadTable(absl::string_view key, const std::function<void(ConfigTable&)>& read) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  const std::string where = absl::StrCat("[", key, "]");
  if (!node->is_table()) {
    Wrong(key, absl::StrCat("must be a table, written ", where));
    return;
  }
  ConfigTable table(*node->as_table(), where, problems_);
  read(table);
  table.Finish();
}

int ConfigTable::ReadTables(absl::string_view key, const std::function<void(ConfigTable&)>& read) {
  const toml::node* node = Find(key);
  if (node == nullptr) return 0;
  // "[app]" inside itself is "[[app.client]]".
  const absl::string_view outer = where_.size() > 4 && where_[1] == '['
                                      ? absl::string_view(where_).substr(2, where_.size() - 4)
                                      : absl::string_view();
  const std::string where =
      outer.empty() ? absl::StrCat("[[", key, "]]") : absl::StrCat("[[", outer, ".", key, "]]");
  if (!node->is_array_of_tables()) {
    Wrong(key, absl::StrCat("must be a list of tables, each written ", where));
    return 1;  // something is meant to be there
  }
  for (const toml::node& item : *node->as_array()) {
    ConfigTable table(*item.as_table(), where, problems_);
    read(table);
    table.Finish();
  }
  return static_cast<int>(node->as_array()->size());
}

void ConfigTable::Refuse(absl::string_view key, absl::string_view what) {
  if (!Has(key)) return;
  refused_.emplace(key);
  AddProblem(key, what);
}

void ConfigTable::Finish() {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (known_.contains(name) || refused_.contains(name)) continue;
    problems_.Add(static_cast<int>(key.source().begin.line),
                  absl::StrCat("unknown key ", Quoted(name), " in ", where_, "; did you mean ",
                               Quoted(NearestWord(name, known_)), "?"));
  }
}

}  // namespace smartkey
