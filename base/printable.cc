// SPDX-License-Identifier: Apache-2.0
// Alone in its file: a program that prints and does not log takes this from the library and not
// spdlog, which costs it a millisecond at each start.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"

namespace smartkey {

std::string Printable(absl::string_view text, size_t limit) {
  return Printable(text, limit, [](absl::string_view rest) -> size_t {
    return absl::ascii_isprint(static_cast<unsigned char>(rest[0])) ? 1 : 0;
  });
}

std::string Printable(absl::string_view text, size_t limit,
                      absl::FunctionRef<size_t(absl::string_view)> shown) {
  constexpr absl::string_view kMore = "...";
  std::string out;
  size_t with_room = 0;  // how much of it leaves room for the dots
  while (!text.empty()) {
    const size_t size = shown(text);
    const std::string piece = size > 0
                                  ? std::string(text.substr(0, size))
                                  : absl::StrFormat("\\x%02x", static_cast<unsigned char>(text[0]));
    if (out.size() + piece.size() > limit) return absl::StrCat(out.substr(0, with_room), kMore);
    out += piece;
    if (out.size() + kMore.size() <= limit) with_room = out.size();
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return out;
}

}  // namespace smartkey
