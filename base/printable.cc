// SPDX-License-Identifier: Apache-2.0
// Alone in its file: a program that prints and does not log takes this from the library and not
// spdlog, which costs it a millisecond at each start.
#include "absl/strings/str_format.h"
#include "base/log.h"

namespace smartkey {

std::string Printable(absl::string_view text, size_t limit) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    std::string piece =
        byte >= 0x20 && byte < 0x7F ? std::string(1, c) : absl::StrFormat("\\x%02x", byte);
    if (out.size() + piece.size() > limit) {
      out.resize(limit >= 3 && out.size() + 3 > limit ? limit - 3 : out.size());
      return out + "...";
    }
    out += piece;
  }
  return out;
}

}  // namespace smartkey
