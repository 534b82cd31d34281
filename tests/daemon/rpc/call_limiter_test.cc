// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_audit_log.h"
#include "tests/fakes/fake_clock.h"

namespace smartkey {
namespace {

const SystemClock kClock;

Caller Uid(uid_t uid) {
  return User(uid, "somebody");
}

// With so many writes at a time, and more calls than a test makes.
std::shared_ptr<CallLimiter> Limiter(int writes) {
  static FakeAuditLog audit;
  return CallLimiter::Make(kClock, audit, {1'000'000, 1'000'000, writes});
}

TEST(CallLimiter, MoreCallsThanAUserMayMake_AreRefusedUntilTimeHasPassed) {
  FakeClock clock;
  FakeAuditLog audit;
  const auto limiter = CallLimiter::Make(clock, audit, {3, 2, 8});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter->Admit(Uid(1000)).ok());
  const absl::Status refused = limiter->Admit(Uid(1000));
  EXPECT_EQ(ReasonOf(refused), Reason::kRateLimited);
  EXPECT_EQ(RetryAfterOf(refused), absl::Milliseconds(500));
  EXPECT_FALSE(limiter->TakeWrite(Uid(1000)).ok());
  EXPECT_TRUE(limiter->Admit(Uid(1001)).ok());
  clock.Advance(absl::Milliseconds(500));
  EXPECT_TRUE(limiter->Admit(Uid(1000)).ok());
  EXPECT_FALSE(limiter->Admit(Uid(1000)).ok());
}

TEST(CallLimiter, RefusedForEitherReason_IsNotedWithoutWhatTheCallWasAbout) {
  FakeClock clock;
  FakeAuditLog audit;
  const auto limiter = CallLimiter::Make(clock, audit, {2, 1, 1});
  const auto slot = limiter->TakeWrite(Uid(1000));
  EXPECT_TRUE(slot.ok());
  EXPECT_TRUE(audit.entries().empty());
  EXPECT_FALSE(limiter->TakeWrite(Uid(1000)).ok()) << "one write at a time";
  EXPECT_FALSE(limiter->TakeWrite(Uid(1000)).ok()) << "two calls at once";
  const std::vector<AuditEntry> noted = audit.entries("access/call");
  ASSERT_EQ(noted.size(), 2u);
  EXPECT_EQ(audit.entries().size(), 2u);
  for (const AuditEntry& one : noted) {
    EXPECT_EQ(one.user->uid, 1000u);
    EXPECT_EQ(one.registration_id, "");
    EXPECT_EQ(one.outcome, Reason::kRateLimited);
  }
}

TEST(CallLimiter, SameUidInAContainer_UsesUpNothingOfTheUserOutside) {
  FakeClock clock;
  FakeAuditLog audit;
  const auto limiter = CallLimiter::Make(clock, audit, {1, 1, 1});
  Caller inside = Uid(1000);
  inside.in_container = true;
  EXPECT_TRUE(limiter->TakeWrite(inside).ok());
  EXPECT_FALSE(limiter->Admit(inside).ok());
  EXPECT_TRUE(limiter->TakeWrite(Uid(1000)).ok());
}

TEST(CallLimiter, OneMoreThanTheLimitIsRefusedWithATimeToComeBack) {
  const auto limiter = Limiter(2);
  const auto first = limiter->TakeWrite(Uid(1000));
  auto second = limiter->TakeWrite(Uid(1000));
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::Status refused = limiter->TakeWrite(Uid(1000)).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kRateLimited);
  EXPECT_EQ(RetryAfterOf(refused), absl::Seconds(1));
  EXPECT_TRUE(limiter->TakeWrite(Uid(1001)).ok()) << "another user's count is another one";

  second->Release();
  second->Release();  // once is once
  auto third = limiter->TakeWrite(Uid(1000));
  EXPECT_TRUE(third.ok());
  EXPECT_FALSE(limiter->TakeWrite(Uid(1000)).ok());
}

TEST(CallLimiter, ASlotEndsOnceWhereItWasMovedTo) {
  const auto limiter = Limiter(1);
  {
    auto slot = limiter->TakeWrite(Uid(1000));
    ASSERT_TRUE(slot.ok());
    CallLimiter::Slot moved = *std::move(slot);
    EXPECT_FALSE(limiter->TakeWrite(Uid(1000)).ok());
  }
  EXPECT_TRUE(limiter->TakeWrite(Uid(1000)).ok())
      << "a callback that was dropped without a call counts too";
}

TEST(CallLimiter, ASlotMayOutliveItsLimiter) {
  auto limiter = Limiter(1);
  auto slot = limiter->TakeWrite(Uid(1000));
  limiter.reset();
  slot->Release();
}

TEST(CallLimiter, ManyThreadsNeverHoldMoreThanTheLimit) {
  const auto limiter = Limiter(3);
  std::atomic<int> held{0}, most{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto slot = limiter->TakeWrite(Uid(1000));
        if (!slot.ok()) continue;
        const int now = ++held;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        ++taken;
        --held;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
  EXPECT_GT(taken, 0);
}

}  // namespace
}  // namespace smartkey
