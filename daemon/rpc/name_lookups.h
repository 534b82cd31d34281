// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/types/optional.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/model/caller.h"
#include "daemon/rpc/fair_queue.h"

namespace smartkey {

// Look-ups in the user database, for as long as they take, on the thread of a scheduler that does
// nothing else. Callers take turns, each socket's by itself: one whose names are slow to be found
// keeps another waiting for one of them. Thread-safe.
class NameLookups {
 public:
  // `scheduler` outlives this; this outlives its tasks.
  explicit NameLookups(Scheduler& scheduler) : scheduler_(scheduler) {}

  void Run(const Caller& caller, absl::AnyInvocable<void()> look_up);

 private:
  using Key = std::pair<bool, uint64_t>;  // on the admin socket, account

  void RunNext();

  Scheduler& scheduler_;
  Mutex mu_;
  FairQueue<Key, absl::AnyInvocable<void()>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
