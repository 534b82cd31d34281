// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/secret.h"
#include "daemon/jose/jwt_signer.h"
#include "daemon/model/catalog.h"
#include "daemon/model/registration.h"

namespace smartkey {

struct IssuedAssertion {
  Secret assertion;
  std::string client_id;
  std::string token_endpoint;
  std::string jti;  // for the audit log
  absl::Time expires_at;
};

// Client assertions that an app sends to the token endpoint itself (RFC 7523 section 2.1). Such an
// assertion is a credential for everything the person authorized, so it lives 60 s and is for the
// owner only. Audience and claims are the daemon's; a caller can set none. Thread-safe.
class AssertionIssuer {
 public:
  AssertionIssuer(const CurrentCatalog& catalog, const JwtSigner& signer, const Clock& clock)
      : catalog_(catalog), signer_(signer), clock_(clock) {}

  // For the serving generation. Errors: kServerRemoved, those for which a registration gives no
  // tokens (token_outcome.h), and JwtSigner's.
  KeyService::OperationId Issue(
      const Registration& registration, KeyService::CallerKey caller, BootTime deadline,
      absl::AnyInvocable<void(absl::StatusOr<IssuedAssertion>)> done) const;

  bool Cancel(KeyService::OperationId id) const { return signer_.Cancel(id); }

 private:
  const CurrentCatalog& catalog_;
  const JwtSigner& signer_;
  const Clock& clock_;
};

}  // namespace smartkey
