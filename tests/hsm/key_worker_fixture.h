// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/key_worker.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_key_provider.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {

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

// A KeyWorker on FakeHardware, and no time that passes by itself. Test suites derive from it.
class KeyWorkerFixture : public testing::Test {
 protected:
  using Operation = FakeHardware::Operation;
  static constexpr Reason kSuccess = Reason::kUnspecified;

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
        clock_, scheduler_, options, observer_);
  }

  // A worker with a key in it.
  void StartWithKey(KeyWorker::Options options = {}) {
    Start(options);
    MakeFirstKey();
  }
  void MakeFirstKey() {
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
  KeyObserver* observer_ = nullptr;
  Answers answers_;
  CreatedKey key_;
  std::unique_ptr<KeyWorker> worker_;
};

}  // namespace smartkey
