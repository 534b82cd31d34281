// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_limiter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

absl::Status CallLimiter::Admit(uid_t uid) {
  const BootTime now = clock_.Boot();
  MutexLock lock(mu_);
  return calls_.Take(absl::StrCat(uid), now);
}

absl::StatusOr<CallLimiter::Slot> CallLimiter::TakeWrite(uid_t uid) {
  if (absl::Status status = Admit(uid); !status.ok()) return status;
  MutexLock lock(mu_);
  const auto found = under_way_.find(uid);
  if (found != under_way_.end() && found->second >= limits_.writes_under_way) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "this user has too many changes under way"), kRetryAfter);
  }
  ++under_way_[uid];
  return Slot(shared_from_this(), uid);
}

CallLimiter::Slot& CallLimiter::Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    Release();
    limiter_ = std::move(other.limiter_);
    uid_ = other.uid_;
  }
  return *this;
}

void CallLimiter::Slot::Release() {
  const std::shared_ptr<CallLimiter> limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return;
  MutexLock lock(limiter->mu_);
  const auto found = limiter->under_way_.find(uid_);
  if (--found->second == 0) limiter->under_way_.erase(found);
}

}  // namespace smartkey
