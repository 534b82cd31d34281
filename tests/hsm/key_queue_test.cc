// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_queue.h"

#include "base/error.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

KeyOperation Operation(KeyService::OperationId id, KeyService::CallerKey caller,
                       bool creation = false) {
  KeyOperation operation;
  operation.id = id;
  operation.caller = caller;
  if (creation) operation.kind = KeyOperationKind::kCreate;
  return operation;
}

std::vector<KeyService::OperationId> Order(KeyQueue& queue) {
  std::vector<KeyService::OperationId> order;
  while (absl::optional<KeyOperation> operation = queue.Pop()) order.push_back(operation->id);
  return order;
}

TEST(KeyQueue, CallersTakeTurns) {
  KeyQueue queue(64, 16);
  for (int i = 1; i <= 4; ++i) queue.Push(Operation(i, 1000));
  queue.Push(Operation(11, 1001));
  queue.Push(Operation(21, 1002));
  queue.Push(Operation(12, 1001));
  EXPECT_EQ(queue.size(), 7);
  EXPECT_EQ(Order(queue), (std::vector<KeyService::OperationId>{1, 11, 21, 2, 12, 3, 4}));
  EXPECT_EQ(queue.size(), 0);
}

TEST(KeyQueue, CreationsWaitUntilNothingElseDoes) {
  KeyQueue queue(64, 16);
  queue.Push(Operation(1, 1000, /*creation=*/true));
  queue.Push(Operation(2, 1001, /*creation=*/true));
  queue.Push(Operation(3, 1000));
  queue.Push(Operation(4, 1000));
  EXPECT_EQ(Order(queue), (std::vector<KeyService::OperationId>{3, 4, 1, 2}));
}

TEST(KeyQueue, ACallerWhoAlwaysSigns_CannotKeepCreationsOut) {
  KeyQueue queue(64, 16);
  queue.Push(Operation(1, 1000, /*creation=*/true));
  bool created = false;
  for (int i = 2; i <= 100 && !created; ++i) {
    queue.Push(Operation(i, 1001));
    created = queue.Pop()->id == 1u;
  }
  EXPECT_TRUE(created);
}

TEST(KeyQueue, FullPartOfACaller_LeavesRoomForOthers) {
  KeyQueue queue(6, 3);
  queue.Push(Operation(1, 1000));
  queue.Push(Operation(2, 1000));
  EXPECT_TRUE(queue.CheckRoom(1000).ok());
  queue.Push(Operation(3, 1000, /*creation=*/true));
  EXPECT_EQ(ReasonOf(queue.CheckRoom(1000)), Reason::kHardwareBusy);
  EXPECT_TRUE(queue.CheckRoom(1001).ok());
  for (int i = 4; i <= 6; ++i) {
    EXPECT_TRUE(queue.CheckRoom(KeyService::kInternal).ok());
    queue.Push(Operation(i, KeyService::kInternal));
  }
  EXPECT_EQ(ReasonOf(queue.CheckRoom(1001)), Reason::kHardwareBusy);
  EXPECT_EQ(ReasonOf(queue.CheckRoom(KeyService::kInternal)), Reason::kHardwareBusy);
}

TEST(KeyQueue, RemovedOperation_LeavesTheOthersInOrder) {
  KeyQueue queue(64, 16);
  queue.Push(Operation(1, 1000));
  queue.Push(Operation(2, 1001));
  queue.Push(Operation(3, 1002, /*creation=*/true));
  queue.Push(Operation(4, 1001));
  EXPECT_EQ(queue.Remove(1)->id, 1u);
  EXPECT_EQ(queue.Remove(3)->id, 3u);
  EXPECT_FALSE(queue.Remove(1).has_value());
  EXPECT_FALSE(queue.Remove(99).has_value());
  EXPECT_EQ(queue.size(), 2);
  queue.Push(Operation(5, 1000));
  EXPECT_EQ(Order(queue), (std::vector<KeyService::OperationId>{2, 5, 4}));
}

TEST(KeyQueue, TakeAll_EmptiesIt) {
  KeyQueue queue(64, 16);
  queue.Push(Operation(1, 1000, /*creation=*/true));
  queue.Push(Operation(2, 1001));
  EXPECT_EQ(queue.TakeAll().size(), 2u);
  EXPECT_EQ(queue.size(), 0);
  EXPECT_FALSE(queue.Pop().has_value());
}

}  // namespace
}  // namespace smartkey
