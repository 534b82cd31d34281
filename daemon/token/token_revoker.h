// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/functional/any_invocable.h"
#include "base/clock.h"
#include "daemon/jose/jwt_signer.h"
#include "daemon/model/registration.h"
#include "daemon/oauth/revocation_endpoint.h"
#include "daemon/token/token_cache.h"

namespace smartkey {

// Tells servers that tokens which are still good are no longer needed (RFC 7009), as far as they
// let themselves be told: at the revocation endpoint pinned at enrollment, whatever is configured
// by now; not where there was none. A client that was registered with private_key_jwt authenticates
// itself (RFC 7009 section 2.1), so the key must still be there. Ends within ten seconds and never
// fails: a token that could not be revoked ends by itself. Thread-safe; asynchronous; must outlive
// what it has begun.
class TokenRevoker {
 public:
  TokenRevoker(const JwtSigner& signer, const RevocationEndpoint& endpoint, const Clock& clock)
      : signer_(signer), endpoint_(endpoint), clock_(clock) {}

  // `tokens` are of `registration`; both are copied as needed before the call returns. `done` runs
  // exactly once, with the number of tokens that servers said are revoked; inside the call if there
  // is nothing to revoke.
  void Revoke(const Registration& registration, const TokenCache::Taken& tokens,
              absl::AnyInvocable<void(int)> done) const;

 private:
  void RevokeOne(const Registration& registration, const Generation& generation,
                 const AccessToken& token, absl::AnyInvocable<void(absl::Status)> done) const;

  const JwtSigner& signer_;
  const RevocationEndpoint& endpoint_;
  const Clock& clock_;
};

}  // namespace smartkey
