// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_worker.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_key_provider.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

using Operation = FakeHardware::Operation;

// Collects what `done` was called with, from any thread.
class Answers {
 public:
  void Add(const std::string& name, const absl::Status& status) {
    MutexLock lock(mu_);
    order_.push_back(name);
    ++count_[name];
    reasons_[name] = ReasonOf(status);
    changed_.NotifyAll();
  }

  // False after 30 seconds.
  bool Await(size_t count) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    MutexLock lock(mu_);
    while (order_.size() < count) {
      if (absl::Now() >= give_up) return false;
      changed_.WaitFor(mu_, give_up - absl::Now());
    }
    return true;
  }

  // kUnspecified: it was a success. A name without an answer, or with two, fails the test.
  Reason of(const std::string& name) {
    MutexLock lock(mu_);
    EXPECT_EQ(count_[name], 1) << name;
    return reasons_[name];
  }
  size_t count() {
    MutexLock lock(mu_);
    return order_.size();
  }
  std::vector<std::string> order() {
    MutexLock lock(mu_);
    return order_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> order_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int> count_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Reason> reasons_ ABSL_GUARDED_BY(mu_);
};

constexpr Reason kSuccess = Reason::kUnspecified;

class KeyWorkerTest : public testing::Test {
 protected:
  void TearDown() override {
    for (const Operation operation :
         {Operation::kOpen, Operation::kCreate, Operation::kSign, Operation::kDestroy,
          Operation::kInterrupt, Operation::kClose}) {
      hardware_->Release(operation);
    }
    worker_.reset();
  }

  void Start(KeyWorker::Options options = {}) {
    worker_ = std::make_unique<KeyWorker>(
        [this, hardware = hardware_] {
          ++providers_;
          return std::make_unique<FakeKeyProvider>(hardware);
        },
        clock_, scheduler_, options);
  }

  // A worker with a key in it.
  void StartWithKey(KeyWorker::Options options = {}) {
    Start(options);
    worker_->CreateKey({.label = "first"}, [this](absl::StatusOr<CreatedKey> key) {
      if (key.ok()) key_ = *key;
      answers_.Add("first key", key.status());
    });
    ASSERT_TRUE(answers_.Await(1));
    ASSERT_EQ(answers_.of("first key"), kSuccess);
  }

  KeyService::OperationId Sign(const std::string& message, KeyService::CallerKey caller = 1000,
                               BootTime deadline = BootTime::InfiniteFuture()) {
    return worker_->Sign({.caller = caller,
                          .key = key_.reference,
                          .public_key = key_.public_key,
                          .algorithm = SignatureAlgorithm::kEs256,
                          .message = message,
                          .deadline = deadline},
                         [this, message](absl::StatusOr<std::string> signature) {
                           if (signature.ok()) {
                             EXPECT_TRUE(VerifySignature(
                                 key_.public_key, SignatureAlgorithm::kEs256, message, *signature));
                           }
                           answers_.Add(message, signature.status());
                         });
  }

  KeyService::OperationId Create(const std::string& label, KeyService::CallerKey caller = 1000) {
    return worker_->CreateKey(
        {.caller = caller, .label = label},
        [this, label](absl::StatusOr<CreatedKey> key) { answers_.Add(label, key.status()); });
  }

  // Makes a signature that stays inside the hardware until Release.
  void Occupy() {
    hardware_->Hold(Operation::kSign);
    const int begun = hardware_->begun(Operation::kSign);
    Sign("occupying");
    ASSERT_TRUE(hardware_->AwaitBegun(Operation::kSign, begun + 1));
  }

  bool AwaitState(ProviderState state) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (worker_->status().state != state) {
      if (absl::Now() >= give_up) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }
  // Until an opening has failed and the next is due later.
  bool AwaitPause() {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (!worker_->status().next_attempt.has_value()) {
      if (absl::Now() >= give_up) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }
  // The watchdog's or a retry's timer is set by another thread than the test's.
  bool AwaitPendingTimers(int count) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (scheduler_.pending() != count) {
      if (absl::Now() >= give_up) return false;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return true;
  }

  FakeClock clock_;
  FakeScheduler scheduler_{clock_};
  std::shared_ptr<FakeHardware> hardware_ = std::make_shared<FakeHardware>();
  std::atomic<int> providers_{0};
  Answers answers_;
  CreatedKey key_;
  std::unique_ptr<KeyWorker> worker_;
};

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

TEST_F(KeyWorkerTest, AbsentHardware_IsLookedForAgainAndBecomesReadyByItself) {
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

  // 5 s, 10 s, 20 s, 40 s, 60 s, 60 s.
  int openings = 1;
  for (const int pause : {5, 10, 20, 40, 60, 60}) {
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

TEST_F(KeyWorkerTest, DegradedOnce_IsReopenedAndTheSignatureRepeated) {
  StartWithKey();
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareDegraded, "object not loaded"));
  Sign("message");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("message"), kSuccess);
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign message",
                                                        "open", "sign message"}));
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
}

TEST_F(KeyWorkerTest, DegradedCreation_IsReopenedButNotRepeated) {
  StartWithKey();
  hardware_->FailNext(Operation::kCreate, MakeError(Reason::kHardwareDegraded, "no answer"));
  Create("second");
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("second"), Reason::kHardwareDegraded);
  EXPECT_EQ(hardware_->begun(Operation::kCreate), 2);
  EXPECT_EQ(hardware_->begun(Operation::kOpen), 2);
  EXPECT_EQ(worker_->status().state, ProviderState::kReady);
}

TEST_F(KeyWorkerTest, DegradedAlsoAfterReopening_RefusesUntilALaterOpening) {
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
  scheduler_.Advance(absl::Seconds(60));
  ASSERT_TRUE(AwaitState(ProviderState::kReady));
  Sign("again");
  ASSERT_TRUE(answers_.Await(5));
  EXPECT_EQ(answers_.of("again"), kSuccess);
}

TEST_F(KeyWorkerTest, FirstSignatureAfterAReopeningIsWrong_IsGivenToNobodyAndTheStateIsDegraded) {
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

TEST_F(KeyWorkerTest, FirstSignatureIsWrongOnce_NobodySeesIt) {
  StartWithKey();
  hardware_->CorruptNextSignatures(1);
  Sign("message");  // Sign verifies what it gets
  ASSERT_TRUE(answers_.Await(2));
  EXPECT_EQ(answers_.of("message"), kSuccess);
  EXPECT_EQ(hardware_->log(), (std::vector<std::string>{"open", "create first", "sign message",
                                                        "open", "sign message"}));
}

TEST_F(KeyWorkerTest, UnpluggedUnderWay_IsAbsentAndThenReadyAgain) {
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

TEST_F(KeyWorkerTest, HangingSignature_IsGivenUpAndANewProviderServes) {
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

TEST_F(KeyWorkerTest, HangingSignatureInterrupted_TheSameProviderIsOpenedAnewAtOnce) {
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

TEST_F(KeyWorkerTest, HangingAgainAndAgain_IsOpenedAgainAsLongAsInterruptionsHelp) {
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

TEST_F(KeyWorkerTest, CallReturnsByItselfWhileInterrupted_TheProviderIsNotUsedBeforeThatEnds) {
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

TEST_F(KeyWorkerTest, HangingOpeningInterrupted_IsTriedAgainAMinuteLaterByTheSameProvider) {
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

TEST_F(KeyWorkerTest, HangingAndThenNotOpening_IsOpenedOnceAndThenEveryMinute) {
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

TEST_F(KeyWorkerTest, TooManyThreadsHang_WhatCameInTheMeantimeIsRefused) {
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

TEST_F(KeyWorkerTest, HangingCreation_HasALimitOfItsOwn) {
  StartWithKey();
  hardware_->Hold(Operation::kCreate);
  Create("slow");
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kCreate, 2));
  scheduler_.Advance(absl::Seconds(179));
  EXPECT_EQ(answers_.count(), 1u);
  scheduler_.Advance(absl::Seconds(1));
  EXPECT_EQ(answers_.of("slow"), Reason::kHardwareTimeout);
}

TEST_F(KeyWorkerTest, HangingOpening_IsTriedAgainAMinuteLaterAndThreadsStayFew) {
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

TEST_F(KeyWorkerTest, DestructionWithHungHardware_DoesNotWaitForIt) {
  StartWithKey({.shutdown_limit = absl::Milliseconds(20)});
  Occupy();
  worker_.reset();
  EXPECT_EQ(answers_.of("occupying"), Reason::kShuttingDown);
  EXPECT_EQ(scheduler_.pending(), 0);
  // The thread that was given up ends later, and touches nothing that is gone.
  hardware_->Release(Operation::kSign);
}

TEST_F(KeyWorkerTest, DestructionWithHungHardware_InterruptsItAndLetsTheThreadEnd) {
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

TEST_F(KeyWorkerTest, ProviderBeingInterrupted_IsNotDestroyedBeforeThatEnds) {
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
