// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/token/token_minter.h"

namespace smartkey {

// A TokenMinter in the test's hands: a request waits until the test answers it, unless an answer
// was scripted, which is given inside Mint. Thread-safe. The destructor answers what waits with
// kShuttingDown.
//
//   FakeTokenMinter minter(clock);
//   manager.GetAccessToken(...);                       // one call waits
//   minter.Answer(minter.Token("t1", absl::Hours(1)));
class FakeTokenMinter : public TokenMinter {
 public:
  struct Call {
    std::string registration_id;
    int generation = 0;
    ScopeSet scopes;
    KeyService::CallerKey caller = 0;
  };

  explicit FakeTokenMinter(const Clock& clock) : clock_(clock) {}
  ~FakeTokenMinter() override;

  void Mint(const Registration& registration, const Generation& generation, const ScopeSet& scopes,
            KeyService::CallerKey caller,
            absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) override;

  // For the next request that is not scripted yet.
  void Script(absl::StatusOr<AccessToken> answer);
  // Answers the oldest that waits, or the one at `index`. False if there is none.
  bool Answer(absl::StatusOr<AccessToken> answer, size_t index = 0);

  // A token that lives `lifetime` from now, as TokenEndpoint gives it.
  AccessToken Token(std::string value, absl::Duration lifetime, std::string patient = "") const;

  int mints() const;
  size_t held() const;
  std::vector<Call> calls() const;

 private:
  using Done = absl::AnyInvocable<void(absl::StatusOr<AccessToken>)>;

  const Clock& clock_;

  mutable Mutex mu_;
  std::vector<Call> calls_ ABSL_GUARDED_BY(mu_);
  std::deque<absl::StatusOr<AccessToken>> scripted_ ABSL_GUARDED_BY(mu_);
  std::deque<Done> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
