// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_revoker.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "daemon/jose/client_assertion.h"

namespace smartkey {

namespace {

constexpr absl::Duration kSigningLimit = absl::Seconds(4);

// Counts answers until the last one has come.
class Tally {
 public:
  Tally(size_t expected, absl::AnyInvocable<void(int)> done)
      : left_(expected), done_(std::move(done)) {}

  void Add(bool revoked) {
    int total = 0;
    {
      MutexLock lock(mu_);
      if (revoked) ++revoked_;
      if (--left_ > 0) return;
      total = revoked_;
    }
    done_(total);
  }

 private:
  Mutex mu_;
  size_t left_ ABSL_GUARDED_BY(mu_);
  int revoked_ ABSL_GUARDED_BY(mu_) = 0;
  absl::AnyInvocable<void(int)> done_;  // called once, by whoever brings left_ to zero
};

}  // namespace

void TokenRevoker::Revoke(const Registration& registration, const TokenCache::Taken& tokens,
                          absl::AnyInvocable<void(int)> done) const {
  struct Revocation {
    const Generation* generation;
    const AccessToken* token;
  };
  std::vector<Revocation> wanted;
  for (const auto& [key, token] : tokens) {
    const Generation* generation = registration.FindGeneration(key.generation);
    if (generation == nullptr || generation->revocation_endpoint.empty()) continue;
    if (token->expires <= clock_.Boot()) continue;
    wanted.push_back({generation, token.get()});
  }
  if (wanted.empty()) return done(0);
  auto tally = std::make_shared<Tally>(wanted.size(), std::move(done));
  for (const Revocation& one : wanted) {
    RevokeOne(registration, *one.generation, *one.token,
              [tally, id = registration.id](absl::Status status) {
                if (!status.ok()) {
                  Log(LogLevel::kInfo, "a token could not be revoked and ends by itself",
                      {{"registration", id}, {"error", status.message()}});
                }
                tally->Add(status.ok());
              });
  }
}

void TokenRevoker::RevokeOne(const Registration& registration, const Generation& generation,
                             const AccessToken& token,
                             absl::AnyInvocable<void(absl::Status)> done) const {
  RevocationRequest request;
  request.revocation_endpoint = generation.revocation_endpoint;
  request.access_token = token.value.Clone();
  request.client_id = generation.client_id;
  request.ca_file = registration.ca_file;
  request.allow_loopback_http = registration.allow_loopback_http;
  if (!generation.requires_client_authentication) {
    endpoint_.Revoke(std::move(request), std::move(done));
    return;
  }
  const ClientAssertionClaims claims =
      MakeClientAssertionClaims(generation.client_id, generation.assertion_audience, clock_.Now());
  signer_.Sign(SigningKey{generation.key, generation.public_key, generation.algorithm,
                          generation.thumbprint},
               kClientAssertionTyp, ToJson(claims), KeyService::kInternal,
               clock_.Boot() + kSigningLimit,
               [this, request = std::move(request),
                done = std::move(done)](absl::StatusOr<Secret> assertion) mutable {
                 if (!assertion.ok())
                   return done(Annotate(assertion.status(), "signing the assertion"));
                 request.client_assertion = *std::move(assertion);
                 endpoint_.Revoke(std::move(request), std::move(done));
               });
}

}  // namespace smartkey
