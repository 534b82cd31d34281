// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/pending_call.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace smartkey {
namespace {

TEST(CallGate, OneOfManyThreadsEndsTheCall) {
  for (int round = 0; round < 500; ++round) {
    CallGate gate;
    std::atomic<int> winners{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        while (!go) {
        }
        if (gate.Claim()) ++winners;
      });
    }
    go = true;
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(winners, 1);
  }
}

TEST(CallGate, AnAbandonedCallStopsItsOperationOnceHoweverTheTwoMeet) {
  for (int round = 0; round < 500; ++round) {
    CallGate gate;
    std::atomic<int> stopped{0};
    std::thread other([&] { gate.Abandon(); });
    gate.OnAbandon([&] { ++stopped; });
    other.join();
    gate.Abandon();
    ASSERT_EQ(stopped, 1);
  }
}

TEST(CallGate, ACompletedOperationIsNotStopped) {
  CallGate gate;
  int stopped = 0;
  auto witness = std::make_shared<int>(0);
  gate.OnAbandon([&, witness] { ++stopped; });
  gate.Release();
  EXPECT_EQ(witness.use_count(), 1);  // nothing is kept for a call that is over
  gate.Abandon();
  gate.OnAbandon([&] { ++stopped; });
  EXPECT_EQ(stopped, 0);
}

}  // namespace
}  // namespace smartkey
