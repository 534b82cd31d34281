// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace smartkey {

// The octets of hexadecimal digits, large or small ones. nullopt: there is an odd number of them,
// or something else among them. Abseil's own function is not the same in all versions.
absl::optional<std::string> HexDecode(absl::string_view digits);

}  // namespace smartkey
