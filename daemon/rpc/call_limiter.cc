// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_limiter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

absl::Status NotedIfTooMany(absl::Status status, const Caller& caller, AuditLog& audit) {
  if (ReasonOf(status) == Reason::kRateLimited) {
    audit.NoteRefusal(caller, "access/call", "", status);
  }
  return status;
}

absl::Status CallLimiter::Admit(const Caller& caller) {
  const BootTime now = clock_.Boot();
  absl::Status status;
  {
    MutexLock lock(mu_);
    status = calls_.Take(absl::StrCat(caller.account()), now);
  }
  return NotedIfTooMany(std::move(status), caller, audit_);
}

absl::StatusOr<CallLimiter::Slot> CallLimiter::TakeWrite(const Caller& caller) {
  if (absl::Status status = Admit(caller); !status.ok()) return status;
  const uint64_t account = caller.account();
  {
    MutexLock lock(mu_);
    int& under_way = under_way_[account];
    if (under_way < limits_.writes_under_way) {
      ++under_way;
      return Slot(shared_from_this(), account);
    }
  }
  return NotedIfTooMany(
      WithRetryAfter(MakeError(Reason::kRateLimited, "this user has too many changes under way"),
                     kRetryAfter),
      caller, audit_);
}

CallLimiter::Slot& CallLimiter::Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    Release();
    limiter_ = std::move(other.limiter_);
    account_ = other.account_;
  }
  return *this;
}

void CallLimiter::Slot::Release() {
  const std::shared_ptr<CallLimiter> limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return;
  MutexLock lock(limiter->mu_);
  const auto found = limiter->under_way_.find(account_);
  if (--found->second == 0) limiter->under_way_.erase(found);
}

}  // namespace smartkey
