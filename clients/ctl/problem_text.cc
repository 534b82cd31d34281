// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/problem_text.h"

#include "absl/strings/str_cat.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {

std::string ProblemsText(absl::string_view heading,
                         const std::vector<client::ConfigProblem>& problems, size_t columns) {
  std::string text;
  for (const client::ConfigProblem& problem : problems) {
    const std::string line = absl::StrCat(
        TerminalText(problem.file, 1024), problem.line == 0 ? "" : absl::StrCat(":", problem.line),
        ": ", TerminalText(problem.message, 1024),
        problem.file_disabled ? " (the file's blocks are not in use)" : "");
    absl::StrAppend(&text, text.empty() ? heading : "", text.empty() ? "\n" : "", "  ",
                    WrapWords(line, 4, columns), "\n");
  }
  return text;
}

}  // namespace smartkey::ctl
