// SPDX-License-Identifier: Apache-2.0
#include "base/hex.h"

#include <cstdint>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace smartkey {

absl::optional<std::string> HexDecode(absl::string_view digits) {
  if (digits.size() % 2 != 0 || !absl::c_all_of(digits, absl::ascii_isxdigit)) return absl::nullopt;
  std::string octets;
  for (size_t i = 0; i < digits.size(); i += 2) {
    uint32_t octet = 0;
    if (!absl::SimpleHexAtoi(digits.substr(i, 2), &octet)) return absl::nullopt;
    octets.push_back(static_cast<char>(octet));
  }
  return octets;
}

}  // namespace smartkey
