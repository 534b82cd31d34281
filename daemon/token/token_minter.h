// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/jose/jwt_signer.h"
#include "daemon/model/access_token.h"
#include "daemon/model/registration.h"
#include "daemon/oauth/token_endpoint.h"

namespace smartkey {

// One token request from beginning to end: claims, signature, POST. What a refusal may be cured by is
// tried once at once: a fresh assertion (new jti), with the server's time when its Date is more than 30 s off
// ours (at most 15 minutes; remembered for the endpoint). Everything else is the caller's to decide.
//
// An interface so that TokenManager is tested without cryptography. Thread-safe; `done` runs exactly once.
class TokenMinter {
 public:
  virtual ~TokenMinter() = default;

  // `registration` and `generation` are copied as needed before the call returns. Errors: TokenEndpoint's and
  // JwtSigner's.
  virtual void Mint(const Registration& registration, const Generation& generation,
                    const ScopeSet& scopes, KeyService::CallerKey caller,
                    absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) = 0;
};

class AssertionTokenMinter : public TokenMinter {
 public:
  AssertionTokenMinter(const JwtSigner& signer, const TokenEndpoint& endpoint, const Clock& clock);

  void Mint(const Registration& registration, const Generation& generation, const ScopeSet& scopes,
            KeyService::CallerKey caller,
            absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) override;

 private:
  struct Attempt;

  void SignAndSend(std::shared_ptr<Attempt> attempt);
  // An error ends the attempt.
  void SignAssertion(const std::shared_ptr<Attempt>& attempt,
                     absl::AnyInvocable<void(Secret)> next);
  void Send(const std::shared_ptr<Attempt>& attempt, Secret assertion, Secret authentication);
  void Finish(std::shared_ptr<Attempt> attempt, absl::StatusOr<AccessToken> result);
  absl::Duration ClockOffset(const std::string& token_endpoint) const;

  const JwtSigner& signer_;
  const TokenEndpoint& endpoint_;
  const Clock& clock_;

  mutable Mutex mu_;
  std::map<std::string, absl::Duration> offsets_ ABSL_GUARDED_BY(mu_);  // by token endpoint
};

}  // namespace smartkey
