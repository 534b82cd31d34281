// SPDX-License-Identifier: Apache-2.0
// Writes the tables of docs/states.md from the table of states, or checks that they are what it
// says.
//
//   states_document --check docs/states.md     exits 1 if the document says something else
//   states_document --write docs/states.md     puts it right
//
// What stands between the two marks of a table is generated; the rest is written by hand.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "daemon/model/state_table.h"

namespace smartkey {
namespace {

std::string Code(absl::string_view text) {
  return absl::StrCat("`", text, "`");
}

// Where a state is left to, for the first table: "`ACTIVE`, removed".
std::string LeadsTo(GenerationState from) {
  std::vector<std::string> targets;
  for (const StateTransition& row : AllTransitions()) {
    if (row.from != from || row.to == from) continue;
    const std::string target =
        row.to.has_value() ? Code(GenerationStateName(*row.to)) : std::string("removed");
    if (std::find(targets.begin(), targets.end(), target) == targets.end()) {
      targets.push_back(target);
    }
  }
  return absl::StrJoin(targets, ", ");
}

std::string StatesTable() {
  std::string text =
      "| state | meaning | goes on to | people see | a token request gets |\n"
      "| --- | --- | --- | --- | --- |\n";
  for (const StateRow& row : AllStates()) {
    const std::string gets =
        row.refusal == Reason::kUnspecified ? "a token" : Code(ReasonName(row.refusal));
    absl::StrAppend(&text, "| ", Code(row.name), " | ", row.meaning, " | ", LeadsTo(row.state),
                    " | ", row.words, " | ", gets, " |\n");
  }
  return text;
}

std::string TransitionsTable() {
  std::string text =
      "| from | to | when | shown by |\n"
      "| --- | --- | --- | --- |\n";
  for (const StateTransition& row : AllTransitions()) {
    const std::string to = !row.to.has_value()   ? "removed"
                           : *row.to == row.from ? "stays"
                                                 : Code(GenerationStateName(*row.to));
    absl::StrAppend(&text, "| ", Code(GenerationStateName(row.from)), " | ", to, " | ",
                    StateCauseWords(row.cause), " | ", Code(row.test), " |\n");
  }
  return text;
}

// Replaces what stands between the marks of `name`. False if they are not there.
bool Fill(std::string& document, const std::string& name, const std::string& table) {
  const std::string begin = absl::StrCat("<!-- ", name, ": generated -->\n");
  const std::string end = absl::StrCat("<!-- ", name, ": end -->\n");
  const size_t from = document.find(begin);
  const size_t to = document.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from) return false;
  document.replace(from + begin.size(), to - from - begin.size(), table);
  return true;
}

int Run(const std::string& how, const std::string& path) {
  std::ifstream in(path);
  std::string is((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::string ought = is;
  if (!Fill(ought, "states", StatesTable()) || !Fill(ought, "transitions", TransitionsTable())) {
    std::cerr << path << ": the marks of the generated tables are not there\n";
    return 1;
  }
  if (is == ought) return 0;
  if (how == "--check") {
    std::cerr << path << " does not say what daemon/model/state_table.cc says: run\n"
              << "  build/release/tests/daemon/model/states_document --write docs/states.md\n";
    return 1;
  }
  std::ofstream out(path, std::ios::trunc);
  out << ought;
  out.close();
  return out ? 0 : 1;
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  const std::string how = argc == 3 ? argv[1] : "";
  if (how != "--check" && how != "--write") {
    std::cerr << "usage: states_document --check|--write FILE\n";
    return 2;
  }
  return smartkey::Run(how, argv[2]);
}
