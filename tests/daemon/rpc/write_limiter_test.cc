// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/write_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.h"

namespace smartkey {
namespace {

TEST(WriteLimiter, OneMoreThanTheLimitIsRefusedWithATimeToComeBack) {
  const auto limiter = WriteLimiter::Make(2);
  const auto first = limiter->Take(1000);
  auto second = limiter->Take(1000);
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::Status refused = limiter->Take(1000).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kRateLimited);
  EXPECT_EQ(RetryAfterOf(refused), absl::Seconds(1));
  EXPECT_TRUE(limiter->Take(1001).ok()) << "another user's count is another one";

  second->Release();
  second->Release();  // once is once
  auto third = limiter->Take(1000);
  EXPECT_TRUE(third.ok());
  EXPECT_FALSE(limiter->Take(1000).ok());
}

TEST(WriteLimiter, ASlotEndsOnceWhereItWasMovedTo) {
  const auto limiter = WriteLimiter::Make(1);
  {
    auto slot = limiter->Take(1000);
    ASSERT_TRUE(slot.ok());
    WriteLimiter::Slot moved = *std::move(slot);
    EXPECT_FALSE(limiter->Take(1000).ok());
  }
  EXPECT_TRUE(limiter->Take(1000).ok()) << "a callback that was dropped without a call counts too";
}

TEST(WriteLimiter, ASlotMayOutliveItsLimiter) {
  auto limiter = WriteLimiter::Make(1);
  auto slot = limiter->Take(1000);
  limiter.reset();
  slot->Release();
}

TEST(WriteLimiter, ManyThreadsNeverHoldMoreThanTheLimit) {
  const auto limiter = WriteLimiter::Make(3);
  std::atomic<int> held{0}, most{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto slot = limiter->Take(1000);
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
