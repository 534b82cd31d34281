// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/client_assertion.h"

#include <utility>

#include "base/random.h"

namespace smartkey {
namespace {

constexpr absl::Duration kBackdated = absl::Seconds(30);
constexpr absl::Duration kLifetime = absl::Seconds(120);
constexpr absl::Duration kHandedOutLifetime = absl::Seconds(60);

ClientAssertionClaims MakeClaims(std::string client_id, std::string audience, absl::Time now,
                                 absl::Duration lifetime) {
  ClientAssertionClaims claims;
  claims.client_id = std::move(client_id);
  claims.audience = std::move(audience);
  claims.jti = RandomId();
  claims.issued_at = now - kBackdated;
  claims.expires_at = now + lifetime;
  return claims;
}

}  // namespace

ClientAssertionClaims MakeClientAssertionClaims(std::string client_id, std::string audience,
                                                absl::Time now) {
  return MakeClaims(std::move(client_id), std::move(audience), now, kLifetime);
}

ClientAssertionClaims MakeHandedOutAssertionClaims(std::string client_id, std::string audience,
                                                   absl::Time now) {
  return MakeClaims(std::move(client_id), std::move(audience), now, kHandedOutLifetime);
}

nlohmann::json ToJson(const ClientAssertionClaims& claims) {
  // RFC 7519 section 2 lets a NumericDate have a fraction; servers that read integers only do not.
  const int64_t issued_at = absl::ToUnixSeconds(claims.issued_at);
  return {
      {"iss", claims.client_id},
      {"sub", claims.client_id},
      {"aud", claims.audience},
      {"jti", claims.jti},
      {"iat", issued_at},
      {"nbf", issued_at},
      {"exp", absl::ToUnixSeconds(claims.expires_at)},
  };
}

}  // namespace smartkey
