// SPDX-License-Identifier: Apache-2.0
// What a KeyObserver is told.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/hsm/key_worker_fixture.h"

namespace smartkey {
namespace {

// Writes down what it is told, a line each: "depth 1", "sign OK 2s 3s", "state READY", "hanging 1".
class RecordingKeyObserver : public KeyObserver {
 public:
  void OnQueueDepth(int depth) override { Add(absl::StrCat("depth ", depth)); }
  void OnFinished(const FinishedKeyOperation& operation) override {
    Add(absl::StrCat(
        KeyOperationKindName(operation.kind), " ",
        operation.outcome == Reason::kUnspecified ? "OK" : ReasonName(operation.outcome), " ",
        absl::FormatDuration(operation.waited), " ", absl::FormatDuration(operation.in_hardware)));
  }
  void OnState(ProviderState state) override {
    Add(absl::StrCat("state ", ProviderStateName(state)));
  }
  void OnAbandonedThreads(int count) override { Add(absl::StrCat("hanging ", count)); }

  // What was told since the last call, once it is that much.
  std::vector<std::string> Take(size_t count) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    MutexLock lock(mu_);
    while (lines_.size() < count && absl::Now() < give_up) {
      changed_.WaitFor(mu_, give_up - absl::Now());
    }
    return std::exchange(lines_, {});
  }

 private:
  void Add(std::string line) {
    MutexLock lock(mu_);
    lines_.push_back(std::move(line));
    changed_.NotifyAll();
  }

  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

class KeyWorkerObserverTest : public KeyWorkerFixture {
 protected:
  KeyWorkerObserverTest() { observer_ = &record_; }

  RecordingKeyObserver record_;
};

TEST_F(KeyWorkerObserverTest, ToldOfDepthOutcomeAndTimes) {
  Start();
  EXPECT_EQ(record_.Take(3),
            (std::vector<std::string>{"state ABSENT", "open OK 0 0", "state READY"}));
  MakeFirstKey();
  EXPECT_EQ(record_.Take(3), (std::vector<std::string>{"depth 1", "depth 0", "create OK 0 0"}));
  Occupy();
  EXPECT_EQ(record_.Take(2), (std::vector<std::string>{"depth 1", "depth 0"}));
  clock_.Advance(absl::Seconds(1));
  Sign("waiting");
  const KeyService::OperationId cancelled = Sign("cancelled");
  Sign("short", 1000, clock_.Boot() + absl::Seconds(1));
  Sign("past", 1000, clock_.Boot());
  EXPECT_EQ(record_.Take(4), (std::vector<std::string>{"depth 1", "depth 2", "depth 3",
                                                       "sign DEADLINE_EXCEEDED 0 0"}));
  scheduler_.Advance(absl::Seconds(2));
  worker_->Cancel(cancelled);
  EXPECT_EQ(record_.Take(4), (std::vector<std::string>{"depth 2", "sign DEADLINE_EXCEEDED 1s 0",
                                                       "depth 1", "sign CANCELLED 2s 0"}));
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kTpmLockout, "locked"));
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(answers_.Await(6));
  EXPECT_EQ(record_.Take(3),
            (std::vector<std::string>{"sign TPM_LOCKOUT 0 3s", "depth 0", "sign OK 2s 0"}));
  worker_->ListKeys(
      [this](absl::StatusOr<KeyInventory> keys) { answers_.Add("listed", keys.status()); });
  worker_->DestroyKey(key_.reference,
                      [this](absl::Status status) { answers_.Add("gone", status); });
  worker_->ProvisionParent(Secret(), [this](absl::StatusOr<ProvisionedParent> parent) {
    answers_.Add("provisioned", parent.status());
  });
  ASSERT_TRUE(answers_.Await(9));
  std::vector<std::string> finished;
  for (const std::string& line : record_.Take(9)) {
    if (!absl::StartsWith(line, "depth")) finished.push_back(line);
  }
  EXPECT_EQ(finished, (std::vector<std::string>{"list OK 0 0", "destroy OK 0 0",
                                                "provision NOT_IMPLEMENTED 0 0"}));
}

TEST_F(KeyWorkerObserverTest, ToldOfHangingThreadsStatesAndReopenings) {
  StartWithKey();
  record_.Take(6);
  Occupy();
  Sign("waiting");
  record_.Take(3);
  scheduler_.Advance(absl::Seconds(15));
  EXPECT_EQ(record_.Take(4),
            (std::vector<std::string>{"depth 0", "state DEGRADED", "sign HARDWARE_TIMEOUT 0 15s",
                                      "sign HARDWARE_DEGRADED 15s 0"}));
  scheduler_.Advance(absl::Seconds(2));
  EXPECT_EQ(record_.Take(3), (std::vector<std::string>{"hanging 1", "open OK 0 0", "state READY"}));
  hardware_->Release(Operation::kSign);
  EXPECT_EQ(record_.Take(1), (std::vector<std::string>{"hanging 0"}));

  // Reopening within an operation.
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareAbsent, "gone"));
  Sign("reopened");
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_EQ(record_.Take(4),
            (std::vector<std::string>{"depth 1", "depth 0", "open OK 0 0", "sign OK 0 0"}));
  // An opening that hangs.
  hardware_->FailNext(Operation::kSign, MakeError(Reason::kHardwareAbsent, "gone"));
  hardware_->Hold(Operation::kOpen);
  Sign("opening hangs");
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kOpen, 4));
  scheduler_.Advance(absl::Seconds(60));
  EXPECT_EQ(record_.Take(5),
            (std::vector<std::string>{"depth 1", "depth 0", "state DEGRADED",
                                      "open HARDWARE_TIMEOUT 0 1m", "sign HARDWARE_TIMEOUT 0 1m"}));
}

TEST_F(KeyWorkerObserverTest, WorkerEnded_IsNotToldOfAThreadThatEndsLater) {
  StartWithKey({.shutdown_limit = absl::Milliseconds(20)});
  Occupy();
  worker_.reset();
  const std::vector<std::string> told = record_.Take(10);
  EXPECT_EQ(told.back(), "sign SHUTTING_DOWN 0 0");
  hardware_->Release(Operation::kSign);
  ASSERT_TRUE(hardware_->AwaitBegun(Operation::kClose, 1));
  EXPECT_TRUE(record_.Take(0).empty());
}

}  // namespace
}  // namespace smartkey
