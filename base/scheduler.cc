// SPDX-License-Identifier: Apache-2.0
#include "base/scheduler.h"

#include <algorithm>
#include <utility>

namespace smartkey {

namespace {
// std::condition_variable counts CLOCK_MONOTONIC, which stands still while the machine sleeps: look
// at CLOCK_BOOTTIME at least this often.
constexpr absl::Duration kLongestWait = absl::Seconds(10);
}  // namespace

TimerThread::TimerThread(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

TimerThread::~TimerThread() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

Scheduler::TaskId TimerThread::RunAfter(absl::Duration delay, absl::AnyInvocable<void()> task) {
  const absl::Duration at =
      clock_.Boot().SinceBoot() + std::max(delay, absl::ZeroDuration());
  MutexLock lock(mu_);
  const TaskId id = next_id_++;
  queue_.emplace(Due{at, id}, std::move(task));
  due_by_id_.emplace(id, at);
  changed_.NotifyAll();
  return id;
}

bool TimerThread::Cancel(TaskId id) {
  // Destroyed outside the lock: what a task holds may take locks of its own.
  absl::AnyInvocable<void()> dropped;
  MutexLock lock(mu_);
  const auto found = due_by_id_.find(id);
  if (found == due_by_id_.end()) return false;
  const auto entry = queue_.find(Due{found->second, id});
  dropped = std::move(entry->second);
  queue_.erase(entry);
  due_by_id_.erase(found);
  return true;
}

void TimerThread::Run() {
  while (true) {
    absl::AnyInvocable<void()> task;
    {
      MutexLock lock(mu_);
      while (true) {
        if (stopping_) return;
        if (queue_.empty()) {
          changed_.Wait(mu_);
          continue;
        }
        const absl::Duration wait = queue_.begin()->first.at - clock_.Boot().SinceBoot();
        if (wait <= absl::ZeroDuration()) break;
        changed_.WaitFor(mu_, std::min(wait, kLongestWait));
      }
      const auto first = queue_.begin();
      task = std::move(first->second);
      due_by_id_.erase(first->first.id);
      queue_.erase(first);
    }
    task();
  }
}

}  // namespace smartkey
