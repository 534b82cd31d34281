// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// Base64url without padding, the only form JOSE knows (RFC 7515 section 2).
std::string Base64UrlEncode(absl::string_view bytes);

// Strict: no padding, no white space, no bits left over.
// Errors: InvalidArgument (the text is not named: it may be a secret).
absl::StatusOr<std::string> Base64UrlDecode(absl::string_view text);

}  // namespace smartkey
