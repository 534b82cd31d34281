// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {

Scheduler::TaskId FakeScheduler::RunAfter(absl::Duration delay, absl::AnyInvocable<void()> task) {
  const absl::Duration at = clock_.Boot().SinceBoot() + std::max(delay, absl::ZeroDuration());
  MutexLock lock(mu_);
  tasks_.emplace(std::make_pair(at, next_), std::move(task));
  return next_++;
}

bool FakeScheduler::Cancel(TaskId id) {
  absl::AnyInvocable<void()> dropped;
  MutexLock lock(mu_);
  for (auto it = tasks_.begin(); it != tasks_.end(); ++it) {
    if (it->first.second != id) continue;
    dropped = std::move(it->second);
    tasks_.erase(it);
    return true;
  }
  return false;
}

void FakeScheduler::Advance(absl::Duration by) {
  const absl::Duration end = clock_.Boot().SinceBoot() + by;
  while (true) {
    absl::AnyInvocable<void()> task;
    absl::Duration at;
    {
      MutexLock lock(mu_);
      if (tasks_.empty() || tasks_.begin()->first.first > end) break;
      at = tasks_.begin()->first.first;
      task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
    }
    if (at > clock_.Boot().SinceBoot()) clock_.Advance(at - clock_.Boot().SinceBoot());
    task();
  }
  clock_.Advance(end - clock_.Boot().SinceBoot());
}

int FakeScheduler::pending() const {
  MutexLock lock(mu_);
  return static_cast<int>(tasks_.size());
}

}  // namespace smartkey
