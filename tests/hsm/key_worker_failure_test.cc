// SPDX-License-Identifier: Apache-2.0
// Hardware that is absent, ill, wrong, or hangs.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/hsm/key_worker_fixture.h"

namespace smartkey {
namespace {

class KeyWorkerFailureTest : public KeyWorkerFixture {};

TEST_F(KeyWorkerFailureTest, AbsentHardware_IsLookedForAgainAndBecomesReadyByItself) {
  hardware_->Fail(Operation::kOpen, MakeError(Reason::kHardwareAbsent, "nothing there"));
  hardware_->Hold(Operation::kOpen);
  Start();
  Create("queued while opening");
  hardware_->Release(Operation::kOpen);
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(answers_.of("queued while opening"), Reason::kHardwareAbsent);
  EXPECT_EQ(worker_->status().state, ProviderState::kAbsent);
  Create("refused at once");
  EXPECT_EQ(answers_.of("refused at once"), Reason::kHardwareAbsent);

  // 1 s, 2 s, 4 s and so on, 60 s at most.
  int openings = 1;
  for (const int pause : {1, 2, 4, 8, 16, 32, 60, 60}) {
    ASSERT_TRUE(AwaitPendingTimers(1));
    scheduler_.Advance(absl::Seconds(pause) - absl::Milliseconds(1));
    EXPECT_EQ(hardware_->begun(Operation::kOpen), openings);
    scheduler_.Advance(absl::Milliseconds(1));
    ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, ++openings));
    // Let the opening end before the clock is moved: its watchdog is a timer, too.
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (absl::Now() < give_up) {
      Create(absl::StrCat("probe ", openings, " ", answers_.count()));
      if (worker_->status().queued == 0 && scheduler_.pending() == 1) break;
    }
  }
  hardware_->Fail(Operation::kOpen, absl::OkStatus());
  ASSERT_TRUE(AwaitPendingTimers(1));
  scheduler_.Advance(absl::Seconds(60));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  EXPECT_TRUE(worker_->status().last_error.ok());
  EXPECT_EQ(providers_, 1);
}

TEST_F(KeyWorkerFailureTest, DegradedOnce_IsReopenedAndTheSignatureRepeated) {
  StartWithKey();
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareDegraded, "object not loaded"));
  Sign("message");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("message"), kSuccess);
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign message",
                                                        "open", "sign message"}));
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
}

TEST_F(KeyWorkerFailureTest, DegradedCreation_IsReopenedButNotRepeated) {
  StartWithKey();
  hardware_->FailNext(Operation::kCreate, MakeError(Reason::kHardwareDegraded, "no answer"));
  Create("second");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("second"), Reason::kHardwareDegraded);
  EXPECT_EQ(hardware_->begun(Operation::kCreate), 2);
  EXPECT_EQ(hardware_->begun(Operation::kOpen), 2);
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
}

TEST_F(KeyWorkerFailureTest, DegradedAlsoAfterReopening_RefusesUntilALaterOpening) {
  StartWithKey();
  Occupy();
  Sign("waiting");
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareDegraded, "ill"), 2);
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("occupying"), Reason::kHardwareDegraded);
  EXPECT_EQ(answers_.of("waiting"), Reason::kHardwareDegraded);
  EXPECT_EQ(worker_->status().state, ProviderState::kDegraded);
  EXPECT_EQ(ReasonOf(worker_->status().last_error), Reason::kHardwareDegraded);
  Sign("refused");
  EXPECT_EQ(answers_.of("refused"), Reason::kHardwareDegraded);
  ASSERT_TRUE(AwaitPendingTimers(1));
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(1));
  scheduler_.Advance(absl::Seconds(1));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  Sign("again");
  ASSERT_TRUE(answers_.Await(5));
  EXPECT_EQ(answers_.of("again"), kSuccess);
}

TEST_F(KeyWorkerFailureTest,
       FirstSignatureAfterAReopeningIsWrong_IsGivenToNobodyAndTheStateIsDegraded) {
  StartWithKey();
  Sign("before");
  ASSERT_TRUE(answers_.Await(2));
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareAbsent, "gone"));
  hardware_->CorruptNextSignatures(1);
  Sign("first after");
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("first after"), Reason::kSignatureWrong);
  EXPECT_EQ(worker_->status().state, ProviderState::kDegraded);
  EXPECT_EQ(ReasonOf(worker_->status().last_error), Reason::kSignatureWrong);
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(60));
  scheduler_.Advance(absl::Seconds(60));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  Sign("right");
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_EQ(answers_.of("right"), kSuccess);
}

TEST_F(KeyWorkerFailureTest, FirstSignatureIsWrongOnce_NobodySeesIt) {
  StartWithKey();
  hardware_->CorruptNextSignatures(1);
  Sign("message");  // Sign verifies what it gets
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("message"), kSuccess);
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign message",
                                                        "open", "sign message"}));
}

TEST_F(KeyWorkerFailureTest, LaterSignatureIsWrong_IsOpenedAnewOnRequestAndChecked) {
  StartWithKey();
  Sign("first");
  ASSERT_TRUE(answers_.Await(2));
  hardware_->CorruptNextSignatures(2);  // the later one, and the first after the opening
  worker_->Sign({.key = key_.reference,
                 .public_key = key_.public_key,
                 .algorithm = SignatureAlgorithm::kEs256,
                 .message = "later"},
                [this](absl::StatusOr<std::string> signature) {
                  ASSERT_TRUE(signature.ok()) << signature.status();
                  EXPECT_FALSE(VerifySignature(key_.public_key, SignatureAlgorithm::kEs256, "later",
                                               *signature));
                  worker_->Reopen();
                  worker_->Reopen();
                  answers_.Add("later", signature.status());
                });
  ASSERT_TRUE(answers_.Await(3));
  Sign("next");  // verifies what it gets
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_EQ(answers_.of("next"), kSuccess);
  EXPECT_EQ(hardware_->log(),
            (std::vector<std::string>{"open", "create first", "sign first", "sign later", "open",
                                      "sign next", "open", "sign next"}));
}

TEST_F(KeyWorkerFailureTest, ReopeningIsAskedForWhileItFails_ComesWhenItIsDue) {
  StartWithKey();
  hardware_->Fail(Operation::kSign, MakeError(Reason::kHardwareDegraded, "ill"));
  Sign("message");
  ASSERT_TRUE(AwaitState(ProviderState::kDegraded));
  const int openings = hardware_->begun(Operation::kOpen);
  worker_->Reopen();
  ASSERT_TRUE(AwaitPendingTimers(1));
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(1));
  EXPECT_EQ(hardware_->begun(Operation::kOpen), openings);
}

TEST_F(KeyWorkerFailureTest, OpensAgainAndAgainAndNeverSigns_PausesGrowUntilItDoes) {
  StartWithKey();
  hardware_->Fail(Operation::kSign, MakeError(Reason::kHardwareDegraded, "ill"));
  for (const int pause : {1, 2, 4, 8, 16, 32, 60, 60}) {
    const std::string message = absl::StrCat("pause ", pause, " ", answers_.count());
    Sign(message);
    ASSERT_TRUE(AwaitState(ProviderState::kDegraded));
    ASSERT_TRUE(AwaitPendingTimers(1));
    EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(pause));
    scheduler_.Advance(absl::Seconds(pause));
    ASSERT_TRUE(AwaitState(ProviderState::kReady));
  }
  hardware_->Fail(Operation::kSign, absl::OkStatus());
  const size_t answered = answers_.count();
  Sign("signs");
  ASSERT_TRUE(answers_.Await(answered + 1));
  EXPECT_EQ(answers_.of("signs"), kSuccess);
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareDegraded, "ill"), 2);
  Sign("ill again");
  ASSERT_TRUE(AwaitState(ProviderState::kDegraded));
  ASSERT_TRUE(AwaitPendingTimers(1));
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(1));
}

// A TPM is the only one that has one: nobody is sent for a newer smartkeyd.
TEST_F(KeyWorkerFailureTest, ProviderHasNoParentKey_SaysWhereTheKeysAre) {
  Start();
  absl::Status told;
  worker_->ProvisionParent(Secret(), [&](absl::StatusOr<ProvisionedParent> parent) {
    told = parent.status();
    answers_.Add("provisioning", parent.status());
  });
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(ReasonOf(told), Reason::kNotImplemented);
  EXPECT_NE(std::string(told.message()).find("PKCS#11 token"), std::string::npos);
  EXPECT_EQ(RemedyOf(told).find("newer"), std::string::npos);
}

TEST_F(KeyWorkerFailureTest, ProvisioningWaitsForAnOpeningThatFails_IsTriedAllTheSame) {
  hardware_->Fail(Operation::kOpen, MakeError(Reason::kTpmOwnerAuthRequired, "no parent"));
  hardware_->Hold(Operation::kOpen);
  Start();
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 1));
  worker_->ProvisionParent(Secret(), [this](absl::StatusOr<ProvisionedParent> parent) {
    answers_.Add("provisioning", parent.status());
  });
  hardware_->Release(Operation::kOpen);
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(answers_.of("provisioning"), Reason::kNotImplemented) << "as this provider says";
}

TEST_F(KeyWorkerFailureTest, EveryThreadHangs_ProvisioningIsRefusedAtOnce) {
  hardware_->Hold(Operation::kOpen);
  Start({.max_abandoned = 1});
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 1));
  scheduler_.Advance(absl::Seconds(62));  // limit and grace
  worker_->ProvisionParent(Secret(), [this](absl::StatusOr<ProvisionedParent> parent) {
    answers_.Add("provisioning", parent.status());
  });
  EXPECT_EQ(answers_.of("provisioning"), Reason::kHardwareDegraded);
}

TEST_F(KeyWorkerFailureTest, UnpluggedUnderWay_IsAbsentAndThenReadyAgain) {
  StartWithKey();
  hardware_->Fail(Operation::kSign, MakeError(Reason::kHardwareAbsent, "gone"));
  hardware_->Fail(Operation::kOpen, MakeError(Reason::kHardwareAbsent, "gone"));
  Sign("gone");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("gone"), Reason::kHardwareAbsent);
  EXPECT_EQ(worker_->status().state, ProviderState::kAbsent);
  hardware_->Fail(Operation::kSign, absl::OkStatus());
  hardware_->Fail(Operation::kOpen, absl::OkStatus());
  ASSERT_TRUE(AwaitPendingTimers(1));
  scheduler_.Advance(absl::Seconds(5));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
}

TEST_F(KeyWorkerFailureTest, HangingSignature_IsGivenUpAndANewProviderServes) {
  StartWithKey();
  Occupy();
  Sign("waiting", 1001);
  Create("creation waiting", 1001);
  scheduler_.Advance(absl::Seconds(14));
  EXPECT_EQ(answers_.count(), 1u);
  hardware_->Hold(Operation::kOpen);
  scheduler_.Advance(absl::Seconds(1));
  EXPECT_EQ(answers_.of("occupying"), Reason::kHardwareTimeout);
  EXPECT_EQ(answers_.of("waiting"), Reason::kHardwareDegraded);
  EXPECT_EQ(answers_.of("creation waiting"), Reason::kHardwareDegraded);
  EXPECT_EQ(worker_->status().state, ProviderState::kDegraded);

  // The old thread still hangs in its signature, and no interruption helps: a new provider.
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kInterrupt, 1));
  EXPECT_EQ(providers_, 1);
  scheduler_.Advance(absl::Seconds(2));
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 2));
  EXPECT_EQ(providers_, 2);
  hardware_->Release(Operation::kOpen);
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  Create("served by the new one");
  ASSERT_TRUE(answers_.Await(5));
  EXPECT_EQ(answers_.of("served by the new one"), kSuccess);

  // The answer that comes at last is nobody's any more.
  hardware_->Release(Operation::kSign);
  Sign("and so is this");
  ASSERT_TRUE(answers_.Await(6));
  EXPECT_EQ(answers_.of("occupying"), Reason::kHardwareTimeout);
  EXPECT_EQ(answers_.of("and so is this"), kSuccess);
}

TEST_F(KeyWorkerFailureTest, HangingSignatureInterrupted_TheSameProviderIsOpenedAnewAtOnce) {
  hardware_->set_interruptible(true);
  StartWithKey();
  Occupy();
  Sign("waiting", 1001);
  scheduler_.Advance(absl::Seconds(15));
  EXPECT_EQ(answers_.of("occupying"), Reason::kHardwareTimeout);
  EXPECT_EQ(answers_.of("waiting"), Reason::kHardwareDegraded);
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  hardware_->Release(Operation::kSign);
  Sign("served");
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_EQ(answers_.of("served"), kSuccess);
  EXPECT_EQ(hardware_->log(),
            (std::vector<std::string>{"open", "create first", "sign occupying", "interrupt",
                                      "interrupted", "open", "sign served"}));
  EXPECT_EQ(providers_, 1);
  EXPECT_EQ(worker_->status().abandoned, 1);
  EXPECT_TRUE(AwaitPendingTimers(0)) << "nothing is left of the watchdog";
}

TEST_F(KeyWorkerFailureTest, HangingAgainAndAgain_IsOpenedAgainAsLongAsInterruptionsHelp) {
  hardware_->set_interruptible(true);
  StartWithKey({.max_abandoned = 2});
  for (int i = 0; i < 10; ++i) {
    hardware_->Hold(Operation::kSign);
    const std::string name = absl::StrCat("hanging ", i);
    Sign(name);
    ASSERT_TRUE(hardware_->AwaitBegun(Operation::kSign, i + 1));
    scheduler_.Advance(absl::Seconds(15));
    EXPECT_EQ(answers_.of(name), Reason::kHardwareTimeout);
    ASSERT_TRUE(AwaitState(ProviderState::kReady));
  }
  hardware_->Release(Operation::kSign);
  Sign("served");
  ASSERT_TRUE(answers_.Await(12));
  EXPECT_EQ(answers_.of("served"), kSuccess);
  EXPECT_EQ(providers_, 1);
}

TEST_F(KeyWorkerFailureTest,
       CallReturnsByItselfWhileInterrupted_TheProviderIsNotUsedBeforeThatEnds) {
  StartWithKey();
  Occupy();
  hardware_->Hold(Operation::kInterrupt);
  std::thread watchdog([this] { scheduler_.Advance(absl::Seconds(15)); });
  EXPECT_TRUE(hardware_->AwaitBegun(Operation::kInterrupt, 1));
  hardware_->Release(Operation::kSign);
  Sign("waits for the opening");
  hardware_->Release(Operation::kInterrupt);
  watchdog.join();
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_EQ(answers_.of("occupying"), Reason::kHardwareTimeout);
  EXPECT_EQ(answers_.of("waits for the opening"), kSuccess);
  EXPECT_EQ(hardware_->log(),
            (std::vector<std::string>{"open", "create first", "sign occupying", "interrupt",
                                      "interrupted", "open", "sign waits for the opening"}));
}

TEST_F(KeyWorkerFailureTest, HangingOpeningInterrupted_IsTriedAgainAMinuteLaterByTheSameProvider) {
  hardware_->set_interruptible(true);
  hardware_->Hold(Operation::kOpen);
  Start();
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 1));
  scheduler_.Advance(absl::Seconds(60));  // its limit
  EXPECT_EQ(worker_->status().state, ProviderState::kDegraded);
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(60));
  ASSERT_TRUE(AwaitPendingTimers(1)) << "the pause only: the thread is back";
  hardware_->Release(Operation::kOpen);
  scheduler_.Advance(absl::Seconds(59));
  EXPECT_EQ(hardware_->begun(Operation::kOpen), 1);
  scheduler_.Advance(absl::Seconds(1));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  EXPECT_EQ(worker_->status().next_attempt, absl::nullopt);
  EXPECT_EQ(providers_, 1);
}

TEST_F(KeyWorkerFailureTest, HangingAndThenNotOpening_IsOpenedOnceAndThenEveryMinute) {
  StartWithKey();
  Occupy();
  hardware_->Fail(Operation::kOpen, MakeError(Reason::kHardwareDegraded, "ill"));
  scheduler_.Advance(absl::Seconds(17));  // limit and grace
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 2));
  for (int openings = 2; openings < 6; ++openings) {
    ASSERT_TRUE(AwaitPause());
    Sign(absl::StrCat("refused ", openings));
    EXPECT_EQ(answers_.of(absl::StrCat("refused ", openings)), Reason::kHardwareDegraded);
    scheduler_.Advance(absl::Seconds(60) - absl::Milliseconds(1));
    EXPECT_EQ(hardware_->begun(Operation::kOpen), openings);
    scheduler_.Advance(absl::Milliseconds(1));
    ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, openings + 1));
  }
}

TEST_F(KeyWorkerFailureTest, TooManyThreadsHang_WhatCameInTheMeantimeIsRefused) {
  StartWithKey({.max_abandoned = 1});
  Occupy();
  scheduler_.Advance(absl::Seconds(15));
  Sign("in the meantime", 1001);
  EXPECT_EQ(answers_.count(), 2u) << "waits for the opening";
  scheduler_.Advance(absl::Seconds(2));
  EXPECT_EQ(answers_.of("in the meantime"), Reason::kHardwareDegraded);
  EXPECT_EQ(providers_, 1);
  EXPECT_EQ(worker_->status().next_attempt, clock_.Boot() + absl::Seconds(60));
}

TEST_F(KeyWorkerFailureTest, HangingCreation_HasALimitOfItsOwn) {
  StartWithKey();
  hardware_->Hold(Operation::kCreate);
  Create("slow");
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kCreate, 2));
  scheduler_.Advance(absl::Seconds(179));
  EXPECT_EQ(answers_.count(), 1u);
  scheduler_.Advance(absl::Seconds(1));
  EXPECT_EQ(answers_.of("slow"), Reason::kHardwareTimeout);
}

TEST_F(KeyWorkerFailureTest, HangingOpening_IsTriedAgainAMinuteLaterAndThreadsStayFew) {
  hardware_->Hold(Operation::kOpen);
  Start({.max_abandoned = 2});
  Create("early");
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 1));
  scheduler_.Advance(absl::Seconds(60));  // its limit
  EXPECT_EQ(answers_.of("early"), Reason::kHardwareDegraded);
  EXPECT_EQ(worker_->status().state, ProviderState::kDegraded);
  EXPECT_EQ(providers_, 1);
  scheduler_.Advance(absl::Seconds(60));  // the pause
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 2));
  scheduler_.Advance(absl::Seconds(60));
  scheduler_.Advance(absl::Seconds(600));
  EXPECT_EQ(providers_, 2) << "two hang already";
  hardware_->Release(Operation::kOpen);
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  while (worker_->status().state != ProviderState::kReady && absl::Now() < give_up) {
    scheduler_.Advance(absl::Seconds(60));
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
}

TEST_F(KeyWorkerFailureTest, DestructionWithHungHardware_DoesNotWaitForIt) {
  StartWithKey({.shutdown_limit = absl::Milliseconds(20)});
  Occupy();
  worker_.reset();
  EXPECT_EQ(answers_.of("occupying"), Reason::kShuttingDown);
  EXPECT_EQ(scheduler_.pending(), 0);
  // The thread that was given up ends later, and touches nothing that is gone.
  hardware_->Release(Operation::kSign);
}

TEST_F(KeyWorkerFailureTest, DestructionWithHungHardware_InterruptsItAndLetsTheThreadEnd) {
  hardware_->set_interruptible(true);
  StartWithKey({.shutdown_limit = absl::Milliseconds(500)});
  Occupy();
  worker_.reset();
  EXPECT_EQ(answers_.of("occupying"), Reason::kShuttingDown);
  EXPECT_EQ(scheduler_.pending(), 0);
  EXPECT_TRUE(hardware_->AwaitBegun(Operation::kClose, 1));
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign occupying",
                                                        "interrupt", "interrupted", "close"}))
      << "not opened anew at the end";
}

TEST_F(KeyWorkerFailureTest, ProviderBeingInterrupted_IsNotDestroyedBeforeThatEnds) {
  StartWithKey({.shutdown_limit = absl::Milliseconds(20)});
  Occupy();
  hardware_->Hold(Operation::kInterrupt);
  std::thread destroyer([this] { worker_.reset(); });
  EXPECT_TRUE(hardware_->AwaitBegun(Operation::kInterrupt, 1));
  hardware_->Release(Operation::kSign);
  hardware_->Release(Operation::kInterrupt);
  destroyer.join();
  EXPECT_TRUE(hardware_->AwaitBegun(Operation::kClose, 1));
  const std::vector<std::string> log = hardware_->log();
  EXPECT_EQ(std::vector<std::string>(log.end() - 3, log.end()),
            (std::vector<std::string>{"interrupt", "interrupted", "close"}));
}

}  // namespace
}  // namespace smartkey
