// SPDX-License-Identifier: Apache-2.0
#include "base/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

// Waits until everything that is due has run.
void Settle(TimerThread& timer) {
  std::promise<void> ran;
  timer.RunAfter(absl::ZeroDuration(), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(TimerThread, ZeroDelay_RunsOnItsOwnThread) {
  SystemClock clock;
  TimerThread timer(clock);
  std::promise<std::thread::id> ran;
  timer.RunAfter(absl::ZeroDuration(), [&] { ran.set_value(std::this_thread::get_id()); });
  EXPECT_NE(ran.get_future().get(), std::this_thread::get_id());
}

TEST(TimerThread, Tasks_RunInTheOrderOfTheirTimeThenOfTheirCall) {
  SystemClock clock;
  TimerThread timer(clock);
  std::promise<void> begin;
  auto begun = begin.get_future().share();
  std::string order;
  std::promise<void> last;
  timer.RunAfter(absl::ZeroDuration(), [begun] { begun.wait(); });  // until all are queued
  timer.RunAfter(absl::Milliseconds(30), [&] {
    order += "3";
    last.set_value();
  });
  timer.RunAfter(absl::ZeroDuration(), [&] { order += "1"; });
  timer.RunAfter(absl::ZeroDuration(), [&] { order += "2"; });
  begin.set_value();
  last.get_future().wait();
  EXPECT_EQ(order, "123");
}

TEST(TimerThread, NotBeforeItsTime) {
  SystemClock clock;
  TimerThread timer(clock);
  const BootTime start = clock.Boot();
  std::promise<BootTime> ran;
  timer.RunAfter(absl::Milliseconds(20), [&] { ran.set_value(clock.Boot()); });
  EXPECT_GE(ran.get_future().get() - start, absl::Milliseconds(20));
}

TEST(TimerThread, ClockThatStandsStill_NothingThatLiesAheadRuns) {
  FakeClock clock;
  TimerThread timer(clock);
  std::atomic<bool> ran = false;
  timer.RunAfter(absl::Milliseconds(1), [&] { ran = true; });
  Settle(timer);
  EXPECT_FALSE(ran);
  clock.Advance(absl::Milliseconds(1));
  Settle(timer);  // also wakes the thread
  EXPECT_TRUE(ran);
}

// Counts how often threads other than its maker's look at it.
class WatchedClock : public SystemClock {
 public:
  BootTime Boot() const override {
    if (std::this_thread::get_id() != maker_) ++looks_;
    return SystemClock::Boot();
  }
  int looks() const { return looks_; }

 private:
  const std::thread::id maker_ = std::this_thread::get_id();
  mutable std::atomic<int> looks_ = 0;
};

TEST(TimerThread, TasksBehindTheNextOne_DoNotWakeTheThread) {
  WatchedClock clock;
  TimerThread timer(clock);
  timer.RunAfter(absl::Hours(1), [] {});
  while (clock.looks() == 0) std::this_thread::yield();  // it sleeps now, or is about to
  const int before = clock.looks();
  for (int i = 0; i < 1'000; ++i) {
    timer.Cancel(timer.RunAfter(absl::Hours(2), [] {}));
    std::this_thread::yield();
  }
  Settle(timer);
  // Settle's own: before its task, and after it. Once more if this took longer than a sleep is.
  EXPECT_LE(clock.looks() - before, 4);
}

TEST(TimerThread, Cancelled_NeverRuns) {
  FakeClock clock;
  TimerThread timer(clock);
  std::atomic<bool> ran = false;
  const Scheduler::TaskId id = timer.RunAfter(absl::Seconds(1), [&] { ran = true; });
  EXPECT_NE(id, 0u);
  EXPECT_TRUE(timer.Cancel(id));
  EXPECT_FALSE(timer.Cancel(id));
  clock.Advance(absl::Hours(1));
  Settle(timer);
  EXPECT_FALSE(ran);
}

TEST(TimerThread, Cancel_AfterItRan_IsFalse) {
  SystemClock clock;
  TimerThread timer(clock);
  const Scheduler::TaskId id = timer.RunAfter(absl::ZeroDuration(), [] {});
  Settle(timer);
  EXPECT_FALSE(timer.Cancel(id));
  EXPECT_FALSE(timer.Cancel(0));
}

TEST(TimerThread, TaskMayScheduleAndCancelOthers) {
  SystemClock clock;
  TimerThread timer(clock);
  std::promise<bool> cancelled;
  timer.RunAfter(absl::ZeroDuration(), [&] {
    const Scheduler::TaskId later = timer.RunAfter(absl::Hours(1), [] {});
    cancelled.set_value(timer.Cancel(later));
  });
  EXPECT_TRUE(cancelled.get_future().get());
}

TEST(TimerThread, Destroyed_DropsWhatHasNotStartedAndFreesIt) {
  FakeClock clock;
  auto held = std::make_shared<int>(1);
  bool ran = false;
  {
    TimerThread timer(clock);
    timer.RunAfter(absl::Hours(1), [&ran, held] { ran = true; });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(FakeScheduler, MovesTheClockToEachTask) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  const BootTime start = clock.Boot();
  absl::Duration at = absl::ZeroDuration();
  scheduler.RunAfter(absl::Minutes(5), [&] { at = clock.Boot() - start; });
  scheduler.Advance(absl::Minutes(4));
  EXPECT_EQ(at, absl::ZeroDuration());
  scheduler.Advance(absl::Minutes(4));
  EXPECT_EQ(at, absl::Minutes(5));
  EXPECT_EQ(clock.Boot() - start, absl::Minutes(8));
}

}  // namespace
}  // namespace smartkey
