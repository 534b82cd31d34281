// SPDX-License-Identifier: Apache-2.0
// Whose turn it is, and what becomes of a call that waits.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/hsm/key_worker_fixture.h"

namespace smartkey {
namespace {

class KeyWorkerTest : public KeyWorkerFixture {};

TEST_F(KeyWorkerTest, KeyCreated_SignsAndIsDestroyed) {
  StartWithKey();
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
  EXPECT_EQ(worker_->status().capabilities->provider, "fake");
  EXPECT_TRUE(worker_->status().last_error.ok());
  Sign("message");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("message"), kSuccess);
  worker_->DestroyKey(key_.reference,
                      [this](absl::Status status) { answers_.Add("destroyed", status); });
  Sign("gone");
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_EQ(answers_.of("destroyed"), kSuccess);
  EXPECT_EQ(answers_.of("gone"), Reason::kKeyGone);
}

TEST_F(KeyWorkerTest, ErrorOfTheKey_IsPassedOnAndChangesNoState) {
  StartWithKey();
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kKeyLostTpmCleared, "lost"));
  Sign("lost");
  Sign("fine");
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("lost"), Reason::kKeyLostTpmCleared);
  EXPECT_EQ(answers_.of("fine"), kSuccess);
  EXPECT_EQ(hardware_->begun(Operation::kOpen), 1);
}

TEST_F(KeyWorkerTest, CallersTakeTurns) {
  StartWithKey();
  Occupy();
  for (int i = 1; i <= 3; ++i) Sign(absl::StrCat("busy caller ", i), 1000);
  Sign("other caller", 1001);
  EXPECT_EQ(worker_->status().queued, 4);
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(6));
  EXPECT_EQ(answers_.order(),
            (std::vector<std::string>{"first key", "occupying", "busy caller 1", "other caller",
                                      "busy caller 2", "busy caller 3"}));
}

TEST_F(KeyWorkerTest, CreationsWaitUntilNoSignatureIsQueued) {
  StartWithKey();
  Occupy();
  Create("creation 1");
  Create("creation 2", 1001);
  Sign("signature 1");
  Sign("signature 2");
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(6));
  EXPECT_EQ(answers_.order(),
            (std::vector<std::string>{"first key", "occupying", "signature 1", "signature 2",
                                      "creation 1", "creation 2"}));
}

TEST_F(KeyWorkerTest, TooManyOfOneCaller_AreRefusedAtOnceAndOthersAreNot) {
  StartWithKey({.max_queued = 4, .max_queued_per_caller = 2});
  Occupy();
  Sign("one");
  Sign("two");
  Sign("three");
  EXPECT_EQ(answers_.of("three"), Reason::kHardwareBusy);
  Sign("other one", 1001);
  Sign("other two", 1001);
  Sign("third caller", 1002);
  EXPECT_EQ(answers_.of("third caller"), Reason::kHardwareBusy);
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(8));
  for (const char* served : {"one", "two", "other one", "other two"}) {
    EXPECT_EQ(answers_.of(served), kSuccess);
  }
}

TEST_F(KeyWorkerTest, DeadlinePassesInTheQueue_IsAnsweredWhileTheHardwareIsStuck) {
  StartWithKey();
  Occupy();
  Sign("short", 1000, clock_.Boot() + absl::Seconds(2));
  Sign("long", 1000, clock_.Boot() + absl::Seconds(100));
  Sign("past", 1000, clock_.Boot() - absl::Seconds(1));
  EXPECT_EQ(answers_.of("past"), Reason::kDeadlineExceeded);
  scheduler_.Advance(absl::Seconds(3));
  EXPECT_EQ(answers_.of("short"), Reason::kDeadlineExceeded);
  EXPECT_EQ(worker_->status().queued, 1);
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(5));
  EXPECT_EQ(answers_.of("long"), kSuccess);
  // The hardware was not bothered with the others.
  EXPECT_EQ(hardware_->log(),
            (std::vector<std::string>{"open", "create first", "sign occupying", "sign long"}));
  EXPECT_TRUE(AwaitPendingTimers(0)) << "timers of finished calls are taken back";
}

TEST_F(KeyWorkerTest, Cancel_StopsWhatHasNotStarted) {
  StartWithKey();
  Occupy();
  const KeyService::OperationId waiting = Sign("waiting", 1000, clock_.Boot() + absl::Seconds(10));
  EXPECT_NE(waiting, 0u);
  EXPECT_TRUE(worker_->Cancel(waiting));
  EXPECT_EQ(answers_.of("waiting"), Reason::kCancelled);
  EXPECT_FALSE(worker_->Cancel(waiting));
  EXPECT_FALSE(worker_->Cancel(waiting + 100));
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("occupying"), kSuccess);
  EXPECT_TRUE(AwaitPendingTimers(0));
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign occupying"}));
}

TEST_F(KeyWorkerTest, CallsDuringTheFirstOpening_WaitForIt) {
  hardware_->Hold(Operation::kOpen);
  Start();
  Create("early");
  EXPECT_EQ(worker_->status().state, ProviderState::kAbsent);
  EXPECT_EQ(worker_->status().queued, 1);
  hardware_->Release(Operation::kOpen);
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(answers_.of("early"), kSuccess);
}

TEST_F(KeyWorkerTest, Destruction_AnswersWhatWaitsAndLetsTheRunningCallEnd) {
  StartWithKey();
  Occupy();
  Sign("waiting", 1000, clock_.Boot() + absl::Seconds(10));
  std::thread releaser([this] {
    EXPECT_TRUE(answers_.Await(2));  // "waiting" is answered before the running call ends
    hardware_->Release(Operation::kSign);
  });
  worker_.reset();
  releaser.join();
  EXPECT_EQ(answers_.of("waiting"), Reason::kShuttingDown);
  EXPECT_EQ(answers_.of("occupying"), kSuccess);
  EXPECT_EQ(scheduler_.pending(), 0);
}

TEST_F(KeyWorkerTest, CallFromWithinDone_IsTaken) {
  StartWithKey();
  worker_->Sign({.key = key_.reference,
                 .public_key = key_.public_key,
                 .algorithm = SignatureAlgorithm::kEs256,
                 .message = "outer"},
                [this](absl::StatusOr<std::string> signature) {
                  answers_.Add("outer", signature.status());
                  Sign("inner");
                });
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("inner"), kSuccess);
}

}  // namespace
}  // namespace smartkey
