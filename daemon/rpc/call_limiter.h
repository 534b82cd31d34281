// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/rate_budget.h"
#include "daemon/access/audit_log.h"
#include "daemon/model/caller.h"

namespace smartkey {

// Gives `status`, having noted it in the audit log (as access/call) if it says that the caller has
// reached a limit: of calls, or of what may be open at once.
absl::Status NotedIfTooMany(absl::Status status, const Caller& caller, AuditLog& audit);

// What a user may ask for over all of his connections: how many calls a second that cost something,
// be it the hardware, the network, the disk, the user database or a look at every registration; and
// how many writes at a time. Cached tokens and the like are not counted.
//
// The store carries writes out one after the other and keeps those whose call was cancelled:
// without a limit, one user who asks and cancels in a loop would queue up writes before everybody
// else's.
//
//   if (absl::Status status = limits->Admit(caller); !status.ok()) return status;
//
//   absl::StatusOr<CallLimiter::Slot> slot = limits->TakeWrite(caller);
//   if (!slot.ok()) return slot.status();
//   store.Update(id, change, [slot = *std::move(slot)](auto updated) mutable { slot.Release(); });
//
// A user is a Caller::account().
//
// What is refused is noted in the audit log.
//
// A slot belongs into what the store calls back, not into the call, which may end long before.
// Thread-safe; held by shared_ptr, so that a slot may outlive everything else.
class CallLimiter : public std::enable_shared_from_this<CallLimiter> {
 public:
  // The right to one write; ends with Release() or with the object, whichever comes first.
  class Slot {
   public:
    Slot(Slot&& other) noexcept = default;
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { Release(); }
    void Release();

   private:
    friend class CallLimiter;
    Slot(std::shared_ptr<CallLimiter> limiter, uint64_t account)
        : limiter_(std::move(limiter)), account_(account) {}

    std::shared_ptr<CallLimiter> limiter_;  // null after Release() and when moved from
    uint64_t account_ = 0;
  };

  struct Limits {
    int calls_at_once = 200;
    int calls_per_second = 50;  // after those
    int writes_under_way = 8;
  };
  // Both outlive the calls that are admitted.
  static std::shared_ptr<CallLimiter> Make(const Clock& clock, AuditLog& audit, Limits limits) {
    return std::shared_ptr<CallLimiter>(new CallLimiter(clock, audit, limits));
  }
  static std::shared_ptr<CallLimiter> Make(const Clock& clock, AuditLog& audit) {
    return Make(clock, audit, Limits());
  }

  // Counts a call. Errors: kRateLimited, with the time until the next.
  absl::Status Admit(const Caller& caller);

  // The same when it is called, for what may turn out to cost nothing. Not to outlive
  // this or the caller.
  std::function<absl::Status()> Admission(const Caller& caller) {
    return [this, &caller] { return Admit(caller); };
  }

  // Counts a call and gives it a write. Errors: kRateLimited, with the time to wait.
  absl::StatusOr<Slot> TakeWrite(const Caller& caller);

 private:
  CallLimiter(const Clock& clock, AuditLog& audit, Limits limits)
      : clock_(clock),
        audit_(audit),
        limits_(limits),
        calls_(limits.calls_at_once, absl::Seconds(1) / limits.calls_per_second,
               "too many requests in a short time") {}

  const Clock& clock_;
  AuditLog& audit_;
  const Limits limits_;
  Mutex mu_;
  RateBudget calls_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, int> under_way_ ABSL_GUARDED_BY(mu_);  // only of those who have some
};

}  // namespace smartkey
