// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "daemon/app/config.h"
#include "toml++/toml.h"

namespace smartkey {

// Collects the problems of one file.
class ConfigProblems {
 public:
  explicit ConfigProblems(std::string file) : file_(std::move(file)) {}

  void Add(int line, std::string message) { list_.push_back({file_, line, std::move(message)}); }
  bool empty() const { return list_.empty(); }
  std::vector<ConfigProblem> ByLine() const;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  std::vector<ConfigProblem> list_;
};

// Reads one TOML table by asking for the keys it may have. Whatever was not asked for is unknown,
// and Finish() says so with the nearest key that was. A problem leaves the value as it was and is
// noted with its line. Borrows everything; not thread-safe.
class ConfigTable {
 public:
  // Looks at a value: OK, or what is wrong with it ("must be an absolute path").
  using Check = std::function<absl::Status(const std::string&)>;
  static absl::Status AnyText(const std::string&) { return absl::OkStatus(); }

  // `where` is how messages name the table: "[daemon]".
  ConfigTable(const toml::table& table, std::string where, ConfigProblems& problems)
      : table_(table), where_(std::move(where)), problems_(problems) {}

  // Each returns true if the key is there with a good value.
  bool ReadString(absl::string_view key, std::string& value, const Check& check = AnyText);
  bool ReadStrings(absl::string_view key, std::vector<std::string>& value,
                   const Check& check = AnyText);
  bool ReadBool(absl::string_view key, bool& value);
  bool ReadInt(absl::string_view key, int& value, int least, int most);
  bool ReadChoice(absl::string_view key, std::string& value,
                  std::initializer_list<absl::string_view> choices);

  // As the reads, for keys without which the table means nothing.
  bool RequireString(absl::string_view key, std::string& value, const Check& check = AnyText);
  bool RequireStrings(absl::string_view key, std::vector<std::string>& value,
                      const Check& check = AnyText);

  // Calls `read` with the table [key], if it is there.
  void ReadTable(absl::string_view key, const std::function<void(ConfigTable&)>& read);
  // Calls `read` with each of the tables [[key]]; returns how many there are.
  int ReadTables(absl::string_view key, const std::function<void(ConfigTable&)>& read);

  // A problem if the key is there, with `what` instead of calling it unknown.
  void Refuse(absl::string_view key, absl::string_view what);

  // To be called once, after the last read.
  void Finish();

  bool Has(absl::string_view key) const;
  int line() const { return static_cast<int>(table_.source().begin.line); }
  int LineOf(absl::string_view key) const;
  void AddProblem(absl::string_view key, absl::string_view what);

 private:
  const toml::node* Find(absl::string_view key);
  bool Wrong(absl::string_view key, absl::string_view what);
  bool Missing(absl::string_view key);

  const toml::table& table_;
  const std::string where_;
  ConfigProblems& problems_;
  std::set<std::string> known_;    // asked for
  std::set<std::string> refused_;  // said to be wrong here, and no suggestion for others
};

// The one of `known` that takes the fewest insertions, removals, changes and swaps of neighbours to
// get to from `word`. Empty when there is none to choose from.
std::string NearestWord(absl::string_view word, const std::set<std::string>& known);

}  // namespace smartkey
