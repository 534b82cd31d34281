// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/write_limiter.h"

#include <utility>

#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

absl::StatusOr<WriteLimiter::Slot> WriteLimiter::Take(uid_t uid) {
  MutexLock lock(mu_);
  const auto found = under_way_.find(uid);
  if (found != under_way_.end() && found->second >= writes_per_uid_) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "this user has too many changes under way"), kRetryAfter);
  }
  ++under_way_[uid];
  return Slot(shared_from_this(), uid);
}

WriteLimiter::Slot& WriteLimiter::Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    Release();
    limiter_ = std::move(other.limiter_);
    uid_ = other.uid_;
  }
  return *this;
}

void WriteLimiter::Slot::Release() {
  const std::shared_ptr<WriteLimiter> limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return;
  MutexLock lock(limiter->mu_);
  const auto found = limiter->under_way_.find(uid_);
  if (--found->second == 0) limiter->under_way_.erase(found);
}

}  // namespace smartkey
