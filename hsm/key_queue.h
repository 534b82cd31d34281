// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "hsm/key_observer.h"
#include "hsm/key_service.h"

namespace smartkey {

// One thing the hardware is asked for.
struct KeyOperation {
  KeyService::OperationId id = 0;
  KeyService::CallerKey caller = KeyService::kInternal;
  KeyOperationKind kind = KeyOperationKind::kSign;
  BootTime deadline = BootTime::InfiniteFuture();
  Scheduler::TaskId deadline_timer = 0;  // 0: none
  BootTime submitted;
  BootTime begun = BootTime::InfiniteFuture();  // when the hardware had it first
  // Does it. May run twice, on a reopened provider, if `repeatable`. Keeps the result to itself.
  absl::AnyInvocable<absl::Status(KeyProvider&)> attempt;
  bool repeatable = true;
  // Hands the caller the result that `attempt` kept, or the error. Runs once.
  absl::AnyInvocable<void(absl::Status)> finish;
};

// What waits for the hardware: bounded, and fair between callers, who take turns, one operation
// each, in the order in which they came to have something waiting. Creations wait until nothing
// else does, and take turns among themselves; but after 64 signatures in a row one has its turn, or
// a caller who always has one waiting would keep everybody from enrolling. Not thread-safe.
class KeyQueue {
 public:
  // `max_per_caller` does not bind KeyService::kInternal.
  KeyQueue(int max, int max_per_caller) : max_(max), max_per_caller_(max_per_caller) {}

  int size() const { return size_; }
  // Why an operation of `caller` cannot be taken now: kHardwareBusy; OK if it can.
  absl::Status CheckRoom(KeyService::CallerKey caller) const;

  void Push(KeyOperation operation);
  absl::optional<KeyOperation> Pop();
  absl::optional<KeyOperation> Remove(KeyService::OperationId id);
  std::vector<KeyOperation> TakeAll();
  std::vector<KeyOperation> TakeAllBut(KeyOperationKind kept);

 private:
  struct Turns {
    std::map<KeyService::CallerKey, std::deque<KeyOperation>> by_caller;  // none empty
    std::deque<KeyService::CallerKey> order;                              // each caller once
  };

  static absl::optional<KeyOperation> PopFrom(Turns& turns);
  static absl::optional<KeyOperation> RemoveFrom(Turns& turns, KeyService::OperationId id);

  static constexpr int kMostPassedOver = 64;

  const int max_;
  const int max_per_caller_;
  int size_ = 0;
  int passed_over_ = 0;  // signatures served in a row while a creation waited
  Turns signatures_;     // and everything else that is quick
  Turns creations_;
};

}  // namespace smartkey
