// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace smartkey {

// The 32 octets of SHA-256 over `bytes` (FIPS 180-4). Pure function.
std::string Sha256(absl::string_view bytes);

}  // namespace smartkey
