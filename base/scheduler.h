// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <thread>
#include <unordered_map>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace smartkey {

// Runs a function later. Thread-safe. Functions must be short: they share one thread.
class Scheduler {
 public:
  using TaskId = uint64_t;  // 0 is never used

  virtual ~Scheduler() = default;

  // Runs `task` once, not before `delay` on CLOCK_BOOTTIME has passed. A delay of zero means as
  // soon as possible, never inside this call.
  virtual TaskId RunAfter(absl::Duration delay, absl::AnyInvocable<void()> task) = 0;

  // True if the task had not started and now never will. Does not wait for one that runs.
  virtual bool Cancel(TaskId id) = 0;
};

// The daemon's scheduler: one thread. The destructor drops what has not started and joins.
class TimerThread : public Scheduler {
 public:
  explicit TimerThread(const Clock& clock);
  ~TimerThread() override;

  TaskId RunAfter(absl::Duration delay, absl::AnyInvocable<void()> task) override;
  bool Cancel(TaskId id) override;

 private:
  struct Due {
    absl::Duration at;
    TaskId id;
    friend bool operator<(const Due& a, const Due& b) {
      return a.at != b.at ? a.at < b.at : a.id < b.id;
    }
  };

  void Run();
  // For at most `wait`, or until there is something earlier.
  void Sleep(absl::Duration wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // When the thread looks again by itself, on CLOCK_MONOTONIC; in the past while it is awake.
  absl::Duration sleeps_until_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  TaskId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<Due, absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<TaskId, absl::Duration> due_by_id_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace smartkey
