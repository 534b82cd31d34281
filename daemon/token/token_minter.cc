// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_minter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/jose/client_assertion.h"

namespace smartkey {

namespace {

constexpr absl::Duration kOffsetWorthTrying = absl::Seconds(30);
constexpr absl::Duration kLargestOffset = absl::Minutes(15);
constexpr absl::Duration kSigningLimit = absl::Seconds(20);

}  // namespace

struct AssertionTokenMinter::Attempt {
  SigningKey key;
  TokenEndpointAddress address;
  std::string client_id;
  std::string audience;
  bool authenticates = false;  // a second assertion goes along
  ScopeSet scopes;
  KeyService::CallerKey caller = KeyService::kInternal;
  int sends = 0;
  absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done;
};

AssertionTokenMinter::AssertionTokenMinter(const JwtSigner& signer, const TokenEndpoint& endpoint,
                                           const Clock& clock)
    : signer_(signer), endpoint_(endpoint), clock_(clock) {}

absl::Duration AssertionTokenMinter::ClockOffset(const std::string& token_endpoint) const {
  MutexLock lock(mu_);
  const auto found = offsets_.find(token_endpoint);
  return found == offsets_.end() ? absl::ZeroDuration() : found->second;
}

void AssertionTokenMinter::Mint(const Registration& registration, const Generation& generation,
                                const ScopeSet& scopes, KeyService::CallerKey caller,
                                absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) {
  auto attempt = std::make_shared<Attempt>();
  attempt->key = SigningKey{generation.key, generation.public_key, generation.algorithm,
                            generation.thumbprint};
  attempt->address = TokenEndpointAddress{generation.token_endpoint, registration.ca_file,
                                          registration.allow_loopback_http};
  attempt->client_id = generation.client_id;
  attempt->audience = generation.assertion_audience;
  attempt->authenticates = generation.requires_client_authentication;
  attempt->scopes = scopes;
  attempt->caller = caller;
  attempt->done = std::move(done);
  SignAndSend(std::move(attempt));
}

void AssertionTokenMinter::SignAndSend(std::shared_ptr<Attempt> attempt) {
  ++attempt->sends;
  SignAssertion(attempt, [this, attempt](Secret assertion) {
    if (!attempt->authenticates) return Send(attempt, std::move(assertion), Secret());
    // RFC 7523 section 2.2: the grant and the authentication are two assertions, each with its own
    // jti.
    auto grant = std::make_shared<Secret>(std::move(assertion));
    SignAssertion(attempt, [this, attempt, grant](Secret authentication) {
      Send(attempt, std::move(*grant), std::move(authentication));
    });
  });
}

void AssertionTokenMinter::SignAssertion(const std::shared_ptr<Attempt>& attempt,
                                         absl::AnyInvocable<void(Secret)> next) {
  // A new jti for every send: the server may have taken the last one before it refused.
  const ClientAssertionClaims claims =
      MakeClientAssertionClaims(attempt->client_id, attempt->audience,
                                clock_.Now() + ClockOffset(attempt->address.token_endpoint));
  signer_.Sign(attempt->key, kClientAssertionTyp, ToJson(claims), attempt->caller,
               clock_.Boot() + kSigningLimit,
               [attempt, next = std::move(next)](absl::StatusOr<Secret> assertion) mutable {
                 if (!assertion.ok()) {
                   return attempt->done(Annotate(assertion.status(), "signing the assertion"));
                 }
                 next(*std::move(assertion));
               });
}

void AssertionTokenMinter::Send(const std::shared_ptr<Attempt>& attempt, Secret assertion,
                                Secret authentication) {
  AssertionGrant grant;
  grant.address = attempt->address;
  grant.assertion = std::move(assertion);
  grant.client_id = attempt->client_id;
  grant.client_assertion = std::move(authentication);
  grant.scopes = attempt->scopes;
  endpoint_.RequestToken(std::move(grant), [this, attempt](absl::StatusOr<AccessToken> token) {
    Finish(attempt, std::move(token));
  });
}

void AssertionTokenMinter::Finish(std::shared_ptr<Attempt> attempt,
                                  absl::StatusOr<AccessToken> result) {
  if (result.ok()) result->key_thumbprint = attempt->key.kid;
  if (result.ok() || ReasonOf(result.status()) != Reason::kRefusedByServer || attempt->sends > 1) {
    return attempt->done(std::move(result));
  }
  // What ClockOffsetOf gives is the server's clock against ours, whatever was assumed for this
  // send.
  const absl::optional<absl::Duration> offset = ClockOffsetOf(result.status());
  if (offset.has_value()) {
    const absl::Duration size = absl::AbsDuration(*offset);
    if (size > kLargestOffset) {
      return attempt->done(
          MakeError(Reason::kClockWrong,
                    absl::StrCat(result.status().message(),
                                 "; its clock and this machine's differ by ",
                                 absl::FormatDuration(absl::Trunc(*offset, absl::Seconds(1))))));
    }
    MutexLock lock(mu_);
    if (size > kOffsetWorthTrying) {
      offsets_[attempt->address.token_endpoint] = *offset;
    } else {
      offsets_.erase(attempt->address.token_endpoint);
    }
  }
  Log(LogLevel::kInfo, "assertion refused, trying once more with a fresh one",
      {{"kid", attempt->key.kid}});
  SignAndSend(std::move(attempt));
}

}  // namespace smartkey
