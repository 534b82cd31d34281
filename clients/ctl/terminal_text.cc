// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/terminal_text.h"

#include <langinfo.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <cwctype>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/log.h"

namespace smartkey::ctl {
namespace {

struct Character {
  size_t size = 1;  // bytes
  size_t columns = 1;
  bool visible = false;
};

struct Range {
  wchar_t first;
  wchar_t last;
};

// Characters that Unicode calls format: they have no look of their own, and can make others look
// like something else.
constexpr Range kFormat[] = {
    {0x00AD, 0x00AD}, {0x0600, 0x0605}, {0x061C, 0x061C}, {0x06DD, 0x06DD},   {0x070F, 0x070F},
    {0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},   {0xFEFF, 0xFEFF},
    {0xFFF9, 0xFFFB}, {0xE000, 0xF8FF}, {0xD800, 0xDFFF}, {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
};

bool IsUtf8() {
  return absl::EqualsIgnoreCase(nl_langinfo(CODESET), "UTF-8");
}

// The first one of `text`, which is not empty.
Character FirstOf(absl::string_view text) {
  if (absl::ascii_isascii(static_cast<unsigned char>(text[0]))) {
    return {.visible = absl::ascii_isprint(static_cast<unsigned char>(text[0]))};
  }
  if (!IsUtf8()) return {};
  wchar_t wide = 0;
  std::mbstate_t state{};
  const size_t size = std::mbrtowc(&wide, text.data(), text.size(), &state);
  if (size == 0 || size > text.size()) return {};  // not a character, or only its beginning
  const int columns = wcwidth(wide);
  const bool format = std::any_of(std::begin(kFormat), std::end(kFormat), [&](const Range& range) {
    return range.first <= wide && wide <= range.last;
  });
  if (columns < 0 || format || std::iswprint(static_cast<wint_t>(wide)) == 0) return {};
  return {.size = size, .columns = static_cast<size_t>(columns), .visible = true};
}

}  // namespace

void UseLocale() {
  if (std::setlocale(LC_CTYPE, "") != nullptr) return;
  // One that this machine has not, as of the machine that somebody came from: which characters it
  // has says its name.
  for (const char* const variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    if (absl::EndsWithIgnoreCase(value, ".UTF-8") || absl::EndsWithIgnoreCase(value, ".utf8")) {
      std::setlocale(LC_CTYPE, "C.UTF-8");
    }
    return;
  }
}

std::string TerminalText(absl::string_view text, size_t limit) {
  return Printable(text, limit, [](absl::string_view rest) {
    const Character first = FirstOf(rest);
    return first.visible ? first.size : 0;
  });
}

size_t ColumnsOf(absl::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    const Character first = FirstOf(text);
    columns += first.columns;
    text.remove_prefix(first.size);
  }
  return columns;
}

absl::string_view TakeColumns(absl::string_view text, size_t columns) {
  size_t end = 0;
  while (end < text.size()) {
    const Character next = FirstOf(text.substr(end));
    if (next.columns > columns) break;
    columns -= next.columns;
    end += next.size;
  }
  return text.substr(0, end);
}

}  // namespace smartkey::ctl
