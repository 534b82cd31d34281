// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace smartkey {

// The claims of a client assertion (RFC 7523 section 3; SMART App Launch 2.2, asymmetric
// authentication). A new jti every time: servers keep replay caches, so no assertion is ever sent twice.
struct ClientAssertionClaims {
  std::string client_id;  // iss and sub
  std::string audience;   // aud, a plain string: usually the token endpoint
  std::string jti;
  absl::Time issued_at;   // iat and nbf
  absl::Time expires_at;  // exp
};

// iat and nbf 30 s before `now`, exp 120 s after: together well under the 300 s that servers allow, and
// good for a clock that is 30 s fast or 90 s slow.
ClientAssertionClaims MakeClientAssertionClaims(std::string client_id, std::string audience,
                                                absl::Time now);

// For an assertion that an app sends itself: exp 60 s after `now`.
ClientAssertionClaims MakeHandedOutAssertionClaims(std::string client_id, std::string audience,
                                                   absl::Time now);

nlohmann::json ToJson(const ClientAssertionClaims& claims);

// The JWS `typ` of a client assertion.
inline constexpr char kClientAssertionTyp[] = "JWT";

}  // namespace smartkey
