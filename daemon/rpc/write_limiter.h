// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace smartkey {

// How many writes a uid may have under way, over all of its connections. The store carries writes
// out one after the other and keeps those whose call was cancelled: without a limit, one user who
// asks and cancels in a loop would queue up writes before everybody else's.
//
//   absl::StatusOr<WriteLimiter::Slot> slot = limiter->Take(caller.uid);
//   if (!slot.ok()) return slot.status();
//   store.Update(id, change, [slot = *std::move(slot)](auto updated) mutable { slot.Release(); });
//
// A slot belongs into what the store calls back, not into the call, which may end long before.
// Thread-safe; held by shared_ptr, so that a slot may outlive everything else.
class WriteLimiter : public std::enable_shared_from_this<WriteLimiter> {
 public:
  // The right to one write; ends with Release() or with the object, whichever comes first.
  class Slot {
   public:
    Slot(Slot&& other) noexcept = default;
    Slot& operator=(Slot&& other) noexcept;
    ~Slot() { Release(); }
    void Release();

   private:
    friend class WriteLimiter;
    Slot(std::shared_ptr<WriteLimiter> limiter, uid_t uid)
        : limiter_(std::move(limiter)), uid_(uid) {}

    std::shared_ptr<WriteLimiter> limiter_;  // null after Release() and when moved from
    uid_t uid_;
  };

  static std::shared_ptr<WriteLimiter> Make(int writes_per_uid = 8) {
    return std::shared_ptr<WriteLimiter>(new WriteLimiter(writes_per_uid));
  }

  // Errors: kRateLimited, to be tried again after a second.
  absl::StatusOr<Slot> Take(uid_t uid);

 private:
  explicit WriteLimiter(int writes_per_uid) : writes_per_uid_(writes_per_uid) {}

  const int writes_per_uid_;
  Mutex mu_;
  std::map<uid_t, int> under_way_ ABSL_GUARDED_BY(mu_);  // only uids that have some
};

}  // namespace smartkey
