// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace smartkey::ctl {

constexpr size_t kTerminalColumns = 80;

// `text` after what stands on the line already, `indent` columns wide: lines end between words,
// before `columns`, and go on under the first word. No line end at the end. A word is never cut.
std::string WrapWords(absl::string_view text, size_t indent, size_t columns);

// How wide a table may be on standard output: as the terminal is; without a limit where it is none,
// since what reads there wants the whole words.
size_t TableColumns();

// The same for sentences on `fd`, which nobody reads more easily in a wider terminal. A log or a
// script wants a line for each.
size_t ProseColumns(int fd);

// Rows under a line of headings, no line wider than a terminal: where it does not fit, the widest
// columns are cut and end in "..". Never the first one, which holds what is typed. Cells are made
// printable here, so they may come from anywhere.
class Table {
 public:
  explicit Table(std::vector<std::string> headings);

  // As many cells as headings.
  void AddRow(std::vector<std::string> cells);

  std::string ToText(size_t columns = TableColumns()) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // The headings first.
};

// "name:   value" lines for one thing. Values are made printable but not cut: they are there to be
// copied; one of several words goes on below itself where the terminal ends. An empty value leaves
// its line out.
class Record {
 public:
  void Add(absl::string_view name, absl::string_view value);
  void Add(absl::string_view name, const absl::optional<absl::Time>& time);
  void Add(absl::string_view name, const std::vector<std::string>& values);

  std::string ToText(size_t columns = kTerminalColumns) const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

// "2026-03-01 14:05:06 UTC".
std::string TimeText(absl::Time time);

}  // namespace smartkey::ctl
