// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_token_minter.h"

#include <utility>

#include "base/error.h"

namespace smartkey {

FakeTokenMinter::~FakeTokenMinter() {
  while (Answer(MakeError(Reason::kShuttingDown, "the minter is ending"))) {
  }
}

void FakeTokenMinter::Mint(const Registration& registration, const Generation& generation,
                           const ScopeSet& scopes, KeyService::CallerKey caller, Done done) {
  absl::optional<absl::StatusOr<AccessToken>> answer;
  {
    MutexLock lock(mu_);
    calls_.push_back(Call{registration.id, generation.number, scopes, caller});
    if (scripted_.empty()) {
      held_.push_back(std::move(done));
      return;
    }
    answer = std::move(scripted_.front());
    scripted_.pop_front();
  }
  done(*std::move(answer));
}

void FakeTokenMinter::Script(absl::StatusOr<AccessToken> answer) {
  MutexLock lock(mu_);
  scripted_.push_back(std::move(answer));
}

bool FakeTokenMinter::Answer(absl::StatusOr<AccessToken> answer, size_t index) {
  Done done;
  {
    MutexLock lock(mu_);
    if (index >= held_.size()) return false;
    done = std::move(held_[index]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  done(std::move(answer));
  return true;
}

AccessToken FakeTokenMinter::Token(std::string value, absl::Duration lifetime,
                                   std::string patient) const {
  AccessToken token;
  token.value = Secret(std::move(value));
  token.lifetime = lifetime;
  token.expires = clock_.Boot() + lifetime;
  token.expires_at = clock_.Now() + lifetime;
  token.refresh_after = token.expires;
  token.refresh_after_at = token.expires_at;
  token.cacheable = lifetime > absl::ZeroDuration();
  token.patient = Identifying(std::move(patient));
  return token;
}

int FakeTokenMinter::mints() const {
  MutexLock lock(mu_);
  return static_cast<int>(calls_.size());
}

size_t FakeTokenMinter::held() const {
  MutexLock lock(mu_);
  return held_.size();
}

std::vector<FakeTokenMinter::Call> FakeTokenMinter::calls() const {
  MutexLock lock(mu_);
  return calls_;
}

}  // namespace smartkey
