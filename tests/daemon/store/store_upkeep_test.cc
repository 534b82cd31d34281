// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/store_upkeep.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_scheduler.h"
#include "tests/fakes/fake_store_maintenance.h"

namespace smartkey {
namespace {

TEST(StoreUpkeep, LooksAtOnceAndThenEveryTenSeconds) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  FakeStoreMaintenance store;
  const StoreUpkeep upkeep(store, scheduler);
  EXPECT_EQ(store.maintained(), 1);
  scheduler.Advance(absl::Seconds(100));
  EXPECT_EQ(store.maintained(), 11);
}

TEST(StoreUpkeep, TheLastOneIsNotDone_NoOtherIsBegun) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  FakeStoreMaintenance store;
  store.HoldMaintain();
  const StoreUpkeep upkeep(store, scheduler);
  scheduler.Advance(absl::Minutes(10));
  EXPECT_EQ(store.maintained(), 1);
  store.ReleaseMaintain();
  scheduler.Advance(absl::Seconds(10));
  EXPECT_EQ(store.maintained(), 2);
}

TEST(StoreUpkeep, Gone_BeginsNothingMore) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  FakeStoreMaintenance store;
  { const StoreUpkeep upkeep(store, scheduler); }
  scheduler.Advance(absl::Minutes(10));
  EXPECT_EQ(store.maintained(), 1);
}

}  // namespace
}  // namespace smartkey
