// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/fair_queue.h"

#include <gtest/gtest.h>

#include <memory>

namespace smartkey {
namespace {

using Queue = FairQueue<int, int>;

TEST(FairQueue, OneKeysBacklogDelaysAnotherByOneJob) {
  Queue queue;
  for (int i = 0; i < 100; ++i) queue.Push(1, i);
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 0));
  queue.Push(2, 1000);
  queue.Done(1);
  EXPECT_EQ(queue.Pop(), std::make_pair(2, 1000));
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 1));
}

TEST(FairQueue, OfAKeyOneJobIsOutAtATime) {
  Queue queue;
  queue.Push(1, 10);
  queue.Push(1, 11);
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 10));
  EXPECT_EQ(queue.Pop(), absl::nullopt);
  queue.Push(1, 12);
  EXPECT_EQ(queue.Pop(), absl::nullopt) << "a job that comes while one is out waits too";
  queue.Done(1);
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 11));
  EXPECT_EQ(queue.Pop(), absl::nullopt);
  queue.Done(1);
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 12));
  queue.Done(1);
  EXPECT_EQ(queue.Pop(), absl::nullopt);
  queue.Push(1, 13);
  EXPECT_EQ(queue.Pop(), std::make_pair(1, 13));
}

TEST(FairQueue, KeysTakeTurnsAndEachKeepsItsOrder) {
  Queue queue;
  for (int key = 0; key < 3; ++key) {
    for (int i = 0; i < 4; ++i) queue.Push(key, i);
  }
  for (int i = 0; i < 4; ++i) {
    for (int key = 0; key < 3; ++key) {
      EXPECT_EQ(queue.Pop(), std::make_pair(key, i));
      queue.Done(key);
    }
  }
  EXPECT_EQ(queue.Pop(), absl::nullopt);
}

TEST(FairQueue, TakesJobsThatCannotBeCopied) {
  FairQueue<int, std::unique_ptr<int>> queue;
  queue.Push(1, std::make_unique<int>(5));
  EXPECT_EQ(*queue.Pop()->second, 5);
}

}  // namespace
}  // namespace smartkey
