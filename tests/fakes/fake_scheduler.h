// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <utility>

#include "base/scheduler.h"
#include "tests/fakes/fake_clock.h"

namespace smartkey {

// Runs tasks when the test says so, on the test's thread, in order of their time. Thread-safe.
class FakeScheduler : public Scheduler {
 public:
  explicit FakeScheduler(FakeClock& clock) : clock_(clock) {}

  TaskId RunAfter(absl::Duration delay, absl::AnyInvocable<void()> task) override;
  bool Cancel(TaskId id) override;

  // Moves the clock to each task that is due within `by`, runs it, and ends at now + by.
  void Advance(absl::Duration by);
  // Runs what is due now.
  void RunDue() { Advance(absl::ZeroDuration()); }
  int pending() const;

 private:
  FakeClock& clock_;
  mutable Mutex mu_;
  TaskId next_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::pair<absl::Duration, TaskId>, absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
