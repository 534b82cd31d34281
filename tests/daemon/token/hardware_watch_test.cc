// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/hardware_watch.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

class HardwareWatchTest : public testing::Test {
 protected:
  void Opened(Reason outcome) {
    FinishedKeyOperation operation;
    operation.kind = KeyOperationKind::kOpen;
    operation.outcome = outcome;
    watch_.OnFinished(operation);
  }

  int changes_ = 0;
  HardwareWatch watch_{[this] { ++changes_; }};
};

TEST_F(HardwareWatchTest, HardwareIsThereFromTheStart_NothingIsTold) {
  watch_.OnState(ProviderState::kAbsent);  // not looked for yet
  Opened(Reason::kUnspecified);
  watch_.OnState(ProviderState::kReady);
  EXPECT_EQ(changes_, 0);
}

TEST_F(HardwareWatchTest, HardwareIsNotFoundAtTheStart_IsToldOnce) {
  watch_.OnState(ProviderState::kAbsent);
  EXPECT_EQ(changes_, 0);
  Opened(Reason::kHardwareAbsent);
  Opened(Reason::kHardwareAbsent);
  EXPECT_EQ(changes_, 1);
}

TEST_F(HardwareWatchTest, HardwareGoesAndComes_EachIsTold) {
  Opened(Reason::kUnspecified);
  watch_.OnState(ProviderState::kReady);
  changes_ = 0;
  watch_.OnState(ProviderState::kAbsent);
  EXPECT_EQ(changes_, 1);
  Opened(Reason::kHardwareAbsent);
  EXPECT_EQ(changes_, 1);
  watch_.OnState(ProviderState::kReady);
  EXPECT_EQ(changes_, 2);
}

TEST_F(HardwareWatchTest, HardwareFailsAndRecovers_IsNoAbsence) {
  Opened(Reason::kUnspecified);
  watch_.OnState(ProviderState::kReady);
  changes_ = 0;
  watch_.OnState(ProviderState::kDegraded);
  watch_.OnState(ProviderState::kReady);
  EXPECT_EQ(changes_, 0);
}

}  // namespace
}  // namespace smartkey
