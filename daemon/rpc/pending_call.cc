// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/pending_call.h"

namespace smartkey {

void CallGate::OnAbandon(absl::AnyInvocable<void()> stop) {
  {
    MutexLock lock(mu_);
    if (released_) return;
    if (!abandoned_) {
      stop_ = std::move(stop);
      return;
    }
  }
  stop();
}

void CallGate::Abandon() {
  absl::AnyInvocable<void()> stop;
  {
    MutexLock lock(mu_);
    abandoned_ = true;
    stop = std::exchange(stop_, nullptr);
  }
  if (stop) stop();
}

void CallGate::Release() {
  absl::AnyInvocable<void()> stop;  // destroyed outside the lock
  MutexLock lock(mu_);
  released_ = true;
  stop = std::exchange(stop_, nullptr);
}

}  // namespace smartkey
