// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kNarrowest = 6;
constexpr absl::string_view kCut = "..";
constexpr size_t kLongestValue = 64 * 1024;

// Widths that fit `columns`, taken from the widest column first; the very first one stays.
std::vector<size_t> FitWidths(std::vector<size_t> widths, size_t columns) {
  size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  while (total > columns) {
    const auto widest = std::max_element(widths.begin() + 1, widths.end());
    if (widest == widths.end() || *widest <= kNarrowest) break;
    --*widest;
    --total;
  }
  return widths;
}

std::string Cell(const std::string& text, size_t width) {
  const size_t columns = ColumnsOf(text);
  if (columns <= width) return absl::StrCat(text, std::string(width - columns, ' '));
  const std::string cut = absl::StrCat(TakeColumns(text, width - kCut.size()), kCut);
  return absl::StrCat(cut, std::string(width - ColumnsOf(cut), ' '));
}

}  // namespace

size_t TableColumns() {
  if (isatty(STDOUT_FILENO) != 1) return absl::string_view::npos;
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kTerminalColumns;
}

size_t ProseColumns(int fd) {
  return isatty(fd) == 1 ? kTerminalColumns : absl::string_view::npos;
}

Table::Table(std::vector<std::string> headings) {
  rows_.push_back(std::move(headings));
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = TerminalText(cell);
  cells.resize(rows_.front().size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToText(size_t columns) const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], ColumnsOf(row[i]));
  }
  widths = FitWidths(std::move(widths), columns);
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line.append(kGap, ' ');
      line.append(Cell(row[i], widths[i]));
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

void Record::Add(absl::string_view name, absl::string_view value) {
  if (value.empty()) return;
  lines_.emplace_back(absl::StrCat(name, ":"), TerminalText(value, kLongestValue));
}

void Record::Add(absl::string_view name, const absl::optional<absl::Time>& time) {
  if (time.has_value()) Add(name, TimeText(*time));
}

void Record::Add(absl::string_view name, const std::vector<std::string>& values) {
  Add(name, absl::StrJoin(values, " "));
}

std::string WrapWords(absl::string_view text, size_t indent, size_t columns) {
  std::string wrapped;
  size_t at = indent;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    const size_t width = ColumnsOf(word);
    if (at > indent && at + 1 + width > columns) {
      absl::StrAppend(&wrapped, "\n", std::string(indent, ' '));
      at = indent;
    } else if (at > indent) {
      absl::StrAppend(&wrapped, " ");
      ++at;
    }
    absl::StrAppend(&wrapped, word);
    at += width;
  }
  return wrapped;
}

std::string Record::ToText(size_t columns) const {
  size_t width = 0;
  for (const auto& line : lines_) width = std::max(width, line.first.size());
  width += kGap;
  std::string text;
  for (const auto& [name, value] : lines_) {
    absl::StrAppend(&text, Cell(name, width), WrapWords(value, width, columns), "\n");
  }
  return text;
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

}  // namespace smartkey::ctl
