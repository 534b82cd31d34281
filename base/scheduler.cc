// SPDX-License-Identifier: Apache-2.0
#include "base/scheduler.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace smartkey {

namespace {
// std::condition_variable counts CLOCK_MONOTONIC, which stands still while the machine sleeps: look
// at CLOCK_BOOTTIME at least this often.
constexpr absl::Duration kLongestWait = absl::Seconds(10);

absl::Duration Monotonic() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}
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
  const absl::Duration at = clock_.Boot().SinceBoot() + std::max(delay, absl::ZeroDuration());
  MutexLock lock(mu_);
  const TaskId id = next_id_++;
  queue_.emplace(Due{at, id}, std::move(task));
  due_by_id_.emplace(id, at);
  // Most tasks are limits that are cancelled again, and lie behind what the thread wakes for
  // anyway: each signature would wake it for nothing.
  if (Monotonic() + delay < sleeps_until_) changed_.NotifyAll();
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

void TimerThread::Sleep(absl::Duration wait) {
  sleeps_until_ = Monotonic() + wait;
  if (wait < absl::InfiniteDuration()) {
    changed_.WaitFor(mu_, wait);
  } else {
    changed_.Wait(mu_);
  }
  sleeps_until_ = -absl::InfiniteDuration();
}

void TimerThread::Run() {
  while (true) {
    absl::AnyInvocable<void()> task;
    {
      MutexLock lock(mu_);
      while (true) {
        if (stopping_) return;
        if (queue_.empty()) {
          Sleep(absl::InfiniteDuration());
          continue;
        }
        const absl::Duration wait = queue_.begin()->first.at - clock_.Boot().SinceBoot();
        if (wait <= absl::ZeroDuration()) break;
        Sleep(std::min(wait, kLongestWait));
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
