// SPDX-License-Identifier: Apache-2.0
// A TPM that is slow, or hangs, at the first, a middle and the last command of an operation, under
// a KeyWorker whose clock is real and whose limits are short.
#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/scheduler.h"
#include "gtest/gtest.h"
#include "hsm/key_worker.h"
#include "tests/hsm/tpm/tpm_fixture.h"
#include "tests/support/chaos_tcti.h"

namespace smartkey {
namespace {

using Kind = TpmFault::Kind;

constexpr Reason kSuccess = Reason::kUnspecified;
constexpr absl::Duration kPatience = absl::Seconds(60);

// Long enough for an operation on a machine that is busy, short enough to wait for.
constexpr absl::Duration kLimit = absl::Seconds(1);

class TpmChaosWorkerTest : public TpmFixture, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    TpmFixture::SetUp();
    key_ = MadeBy(*Opened());
    chaos_ = std::make_unique<ChaosTcti>(tpm_->tcti());
    StartWorker();
    ASSERT_TRUE(AwaitReady());
  }

  // Another one, if there is one already.
  void StartWorker() {
    worker_.reset();
    worker_ = std::make_unique<KeyWorker>(
        [this] {
          return std::make_unique<TpmKeyProvider>(TpmKeyProvider::Options{.tcti = chaos_->tcti()});
        },
        clock_, timers_,
        KeyWorker::Options{.sign_limit = kLimit,
                           .create_limit = kLimit,
                           .open_limit = kLimit,
                           .interrupt_grace = absl::Milliseconds(50),
                           .first_retry = absl::Milliseconds(50),
                           .longest_retry = absl::Milliseconds(50)});
  }

  bool AwaitReady() {
    const absl::Time give_up = absl::Now() + kPatience;
    while (worker_->status().state != ProviderState::kReady && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    return worker_->status().state == ProviderState::kReady;
  }

  // An operation through the worker, and how it ended; whatever it made is right.
  Reason Sign() {
    auto signature = std::make_shared<std::promise<absl::StatusOr<std::string>>>();
    worker_->Sign({.key = key_.reference, .public_key = key_.public_key, .message = "message"},
                  [signature](absl::StatusOr<std::string> result) {
                    signature->set_value(std::move(result));
                  });
    const absl::StatusOr<std::string> made = Await<absl::StatusOr<std::string>>(*signature);
    EXPECT_TRUE(!made.ok() || VerifySignature(key_.public_key, kEs256, "message", *made));
    return ReasonOf(made.status());
  }
  Reason Create() {
    auto key = std::make_shared<std::promise<absl::StatusOr<CreatedKey>>>();
    worker_->CreateKey(
        {.algorithm = kEs256, .label = "label"},
        [key](absl::StatusOr<CreatedKey> result) { key->set_value(std::move(result)); });
    return ReasonOf(Await<absl::StatusOr<CreatedKey>>(*key).status());
  }
  // What the worker does by itself: another one, on the same TPM.
  Reason Open() {
    StartWorker();
    const absl::Time give_up = absl::Now() + kPatience;
    ProviderStatus status = worker_->status();
    while (status.state != ProviderState::kReady && !chaos_->hanging() && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(1));
      status = worker_->status();
    }
    if (status.state == ProviderState::kReady) return kSuccess;
    while (status.abandoned == 0 && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(1));
      status = worker_->status();
    }
    return status.abandoned > 0 ? Reason::kHardwareTimeout : ReasonOf(status.last_error);
  }
  // To where the operation takes all its commands: nothing is loaded yet.
  void Prepare() {
    StartWorker();
    EXPECT_TRUE(AwaitReady());
  }
  Reason Run() {
    const absl::string_view name = GetParam();
    return name == "Sign" ? Sign() : name == "Create" ? Create() : Open();
  }

  template <typename Result>
  static Result Await(std::promise<Result>& promise) {
    std::future<Result> future = promise.get_future();
    if (future.wait_for(absl::ToChronoSeconds(kPatience)) != std::future_status::ready) {
      ADD_FAILURE() << "the worker never answered";
      return MakeError(Reason::kInternal, "never answered");
    }
    return future.get();
  }

  // From 1: the first, the middle and the last of the commands that the operation consists of.
  std::set<int> Places() {
    Prepare();
    chaos_->TakeCommands();
    EXPECT_EQ(Run(), kSuccess);
    const int count = static_cast<int>(chaos_->TakeCommands().size());
    EXPECT_GT(count, 0);
    return {1, (count + 1) / 2, count};
  }

  SystemClock clock_;
  TimerThread timers_{clock_};
  CreatedKey key_;
  std::unique_ptr<ChaosTcti> chaos_;
  std::unique_ptr<KeyWorker> worker_;
};

INSTANTIATE_TEST_SUITE_P(EachOperation, TpmChaosWorkerTest,
                         testing::Values("Open", "Create", "Sign"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param);
                         });

TEST_P(TpmChaosWorkerTest, CommandIsSlow_IsWaitedFor) {
  for (const int nth : Places()) {
    SCOPED_TRACE(absl::StrFormat("command %d", nth));
    Prepare();
    chaos_->Arm(nth, {.kind = Kind::kDelay, .code = 0, .delay_ms = 100});
    EXPECT_EQ(Run(), kSuccess);
    EXPECT_TRUE(chaos_->happened());
    EXPECT_EQ(worker_->status().abandoned, 0);
    EXPECT_EQ(Sign(), kSuccess);
  }
}

TEST_P(TpmChaosWorkerTest, CommandHangs_TimesOutAndIsServedAgain) {
  for (const int nth : Places()) {
    SCOPED_TRACE(absl::StrFormat("command %d", nth));
    Prepare();
    chaos_->Arm(nth, {.kind = Kind::kHang});
    EXPECT_EQ(Run(), Reason::kHardwareTimeout);
    EXPECT_TRUE(chaos_->happened());
    // Another connection serves while the first still hangs.
    ASSERT_TRUE(AwaitReady()) << worker_->status().last_error;
    EXPECT_EQ(Sign(), kSuccess);
    EXPECT_TRUE(chaos_->hanging());
    // And it does no harm when it comes back: what it flushes there is loaded again.
    chaos_->Release();
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(AwaitReady()) << worker_->status().last_error;
      EXPECT_EQ(Sign(), kSuccess);
    }
    EXPECT_EQ(Handles(TPM2_LOADED_SESSION_FIRST), 0u);
    if (HasFailure()) return;  // one is enough to read
  }
}

}  // namespace
}  // namespace smartkey
