// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/name_lookups.h"

namespace smartkey {

void NameLookups::Run(const Caller& caller, absl::AnyInvocable<void()> look_up) {
  {
    MutexLock lock(mu_);
    waiting_.Push({caller.admin, caller.account()}, std::move(look_up));
  }
  // One turn for each that waits: whose it will be is decided when it comes.
  scheduler_.RunAfter(absl::ZeroDuration(), [this] { RunNext(); });
}

void NameLookups::RunNext() {
  absl::optional<std::pair<Key, absl::AnyInvocable<void()>>> next;
  {
    MutexLock lock(mu_);
    next = waiting_.Pop();
  }
  if (!next.has_value()) return;
  next->second();
  MutexLock lock(mu_);
  waiting_.Done(next->first);
}

}  // namespace smartkey
