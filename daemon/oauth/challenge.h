// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace smartkey {

// Why a resource server refused a token: the `error` (RFC 6750 section 3.1, RFC 9449 section 7.1)
// of the first Bearer or DPoP challenge that has one in a WWW-Authenticate header (RFC 9110 section
// 11.6.1), for example "invalid_token". Lower-case letters and '_' only. Empty: there is none, or
// the header is not of that form. Pure function.
std::string ChallengeErrorOf(absl::string_view www_authenticate);

}  // namespace smartkey
