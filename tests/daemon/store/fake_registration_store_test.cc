// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_registration_store.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/contract/registration_samples.h"

namespace smartkey {
namespace {

TEST(FakeRegistrationStore, Held_WritesWaitAndHappenOneByOne) {
  FakeRegistrationStore store;
  store.Hold();
  int done = 0;
  store.Insert(SampleRegistration("r1"), [&](absl::Status) { ++done; });
  store.Insert(SampleRegistration("r2"), [&](absl::Status) { ++done; });
  EXPECT_EQ(store.waiting(), 2);
  EXPECT_EQ(store.Find("r1"), nullptr);
  store.Run(1);
  EXPECT_EQ(done, 1);
  EXPECT_NE(store.Find("r1"), nullptr);
  EXPECT_EQ(store.Find("r2"), nullptr);
  store.Release();
  EXPECT_EQ(done, 2);
  EXPECT_EQ(store.writes(), 2);
}

TEST(FakeRegistrationStore, FailingWrites_ChangeNothingAndShowInHealth) {
  FakeRegistrationStore store;
  store.FailWrites(MakeError(Reason::kStoreUnavailable, "the disk is full"));
  EXPECT_EQ(ReasonOf(InsertNow(store, SampleRegistration("r1"))), Reason::kStoreUnavailable);
  EXPECT_EQ(store.Find("r1"), nullptr);
  EXPECT_EQ(ReasonOf(store.health()), Reason::kStoreUnavailable);
  store.FailWrites(absl::OkStatus());
  EXPECT_TRUE(InsertNow(store, SampleRegistration("r1")).ok());
  EXPECT_TRUE(store.health().ok());
}

TEST(FakeRegistrationStore, FailWritesAfter_TheFirstOnesSucceed) {
  FakeRegistrationStore store;
  store.FailWritesAfter(1, MakeError(Reason::kStoreUnavailable, "the disk is full"));
  EXPECT_TRUE(InsertNow(store, SampleRegistration("r1")).ok());
  EXPECT_FALSE(InsertNow(store, SampleRegistration("r2")).ok());
}

TEST(FakeRegistrationStore, ContentsWithoutWhatWasHeld_AreWhatARestartFinds) {
  FakeRegistrationStore store;
  ASSERT_TRUE(InsertNow(store, SampleRegistration("r1")).ok());
  store.Hold();
  store.Insert(SampleRegistration("r2"), [](absl::Status) { FAIL() << "dropped by the crash"; });
  FakeRegistrationStore restarted(store.Contents());
  EXPECT_NE(restarted.Find("r1"), nullptr);
  EXPECT_EQ(restarted.Find("r2"), nullptr);
}

}  // namespace
}  // namespace smartkey
