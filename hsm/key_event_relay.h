// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"
#include "hsm/key_observer.h"

namespace smartkey {

// Carries events from under a lock to a KeyObserver, which must be called outside of it and in
// order. Thread-safe.
class KeyEventRelay {
 public:
  using Event = absl::AnyInvocable<void(KeyObserver&)>;

  // Null: events are dropped. `observer` must live until Stop has returned.
  explicit KeyEventRelay(KeyObserver* observer) : observer_(observer) {}

  // Keeps `event` for the next Flush. Cheap, calls nothing: may be used under the caller's lock,
  // which then decides about the order.
  void Note(Event event);
  // Tells the observer what was noted, unless another thread is about it; then that one goes on.
  // Never under a lock.
  void Flush();
  // Drops what comes from now on, and waits until the observer is not being called any more.
  void Stop();

 private:
  Mutex mu_;
  CondVar changed_;
  KeyObserver* observer_ ABSL_GUARDED_BY(mu_);
  bool telling_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Event> events_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
