// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_limiter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

std::string UserOf(const Caller& caller) {
  return absl::StrCat(caller.uid, caller.in_container ? " in a container" : "");
}

}  // namespace

absl::Status CallLimiter::Admit(const Caller& caller) {
  const BootTime now = clock_.Boot();
  MutexLock lock(mu_);
  return calls_.Take(UserOf(caller), now);
}

absl::StatusOr<CallLimiter::Slot> CallLimiter::TakeWrite(const Caller& caller) {
  if (absl::Status status = Admit(caller); !status.ok()) return status;
  std::string user = UserOf(caller);
  MutexLock lock(mu_);
  const auto found = under_way_.find(user);
  if (found != under_way_.end() && found->second >= limits_.writes_under_way) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "this user has too many changes under way"), kRetryAfter);
  }
  ++under_way_[user];
  return Slot(shared_from_this(), std::move(user));
}

CallLimiter::Slot& CallLimiter::Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    Release();
    limiter_ = std::move(other.limiter_);
    user_ = std::move(other.user_);
  }
  return *this;
}

void CallLimiter::Slot::Release() {
  const std::shared_ptr<CallLimiter> limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return;
  MutexLock lock(limiter->mu_);
  const auto found = limiter->under_way_.find(user_);
  if (--found->second == 0) limiter->under_way_.erase(found);
}

}  // namespace smartkey
