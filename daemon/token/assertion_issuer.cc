// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/assertion_issuer.h"

#include <utility>

#include "daemon/jose/client_assertion.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

KeyService::OperationId AssertionIssuer::Issue(
    const Registration& registration, KeyService::CallerKey caller, BootTime deadline,
    absl::AnyInvocable<void(absl::StatusOr<IssuedAssertion>)> done) const {
  if (absl::Status removed = catalog_.Get()->CheckServerOf(registration); !removed.ok()) {
    done(removed);
    return 0;
  }
  const absl::StatusOr<const Generation*> generation = ServingGeneration(registration);
  if (!generation.ok()) {
    done(generation.status());
    return 0;
  }
  const Generation& from = **generation;
  const ClientAssertionClaims claims =
      MakeHandedOutAssertionClaims(from.client_id, from.assertion_audience, clock_.Now());
  IssuedAssertion issued;
  issued.client_id = from.client_id;
  issued.token_endpoint = from.token_endpoint;
  issued.jti = claims.jti;
  issued.expires_at = claims.expires_at;
  return signer_.Sign(
      SigningKey{from.key, from.public_key, from.algorithm, from.thumbprint}, kClientAssertionTyp,
      ToJson(claims), caller, deadline,
      [issued = std::move(issued), done = std::move(done)](absl::StatusOr<Secret> jws) mutable {
        if (!jws.ok()) return done(jws.status());
        issued.assertion = *std::move(jws);
        done(std::move(issued));
      });
}

}  // namespace smartkey
