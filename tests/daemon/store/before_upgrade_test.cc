// SPDX-License-Identifier: Apache-2.0
// The copy that is kept of a database of an older schema, for the way back.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "daemon/store/sqlite/daily_copies.h"
#include "tests/daemon/store/store_fixture.h"

namespace smartkey {
namespace {

class BeforeUpgradeTest : public StoreFixture {
 protected:
  // A database of 0.1.0, with the registrations es384 and rs256, is upgraded.
  void Upgrade() {
    std::filesystem::copy_file(SMARTKEY_FIXTURES "/0.1.0/daemon/state/smartkeyd.db", database_);
    Start();
    ASSERT_EQ(store().List().size(), 2u);
  }
  RegistrationStore::Snapshot Named(const std::string& name) {
    for (const RegistrationStore::Snapshot& one : store().List()) {
      if (one->name.RevealIdentifying() == name) return one;
    }
    return nullptr;
  }
  std::string NamesIn(const std::string& copy) {
    return OpenCopy(copy)
        ->QueryText("SELECT ifnull(group_concat(name), '') FROM registrations ORDER BY name")
        .value();
  }

  const std::string kept_ = "before-upgrade-20270115-080000.db";
};

TEST_F(BeforeUpgradeTest, Upgraded_ItIsListedAndTheCopyOfTheDayIsMadeAtOnce) {
  Upgrade();
  StoreCondition condition = store().condition();
  ASSERT_EQ(condition.copies.size(), 1u);
  EXPECT_EQ(condition.copies[0].file, "copies/" + kept_);
  EXPECT_EQ(condition.copies[0].made_at, clock_.Now());
  Maintain();
  EXPECT_EQ(Copies(), (Names{kept_, "smartkeyd-20270115.db"}));
  condition = store().condition();
  ASSERT_EQ(condition.copies.size(), 2u);
  EXPECT_EQ(condition.copies[0].file, "copies/smartkeyd-20270115.db");
  EXPECT_EQ(OpenCopy(kept_)->QueryInt("SELECT schema_version FROM meta").value(), 1);
}

TEST_F(BeforeUpgradeTest, ThreeCopiesOfLaterDaysAreThere_ItGoes) {
  Upgrade();
  for (int day = 0; day < 3; ++day) {
    Maintain();
    EXPECT_EQ(Copies().front(), kept_) << day;
    clock_.Advance(absl::Hours(24));
  }
  Maintain();
  EXPECT_EQ(Copies(),
            (Names{"smartkeyd-20270116.db", "smartkeyd-20270117.db", "smartkeyd-20270118.db"}));
}

TEST_F(BeforeUpgradeTest, RegistrationIsRemoved_NothingOfItStaysInItAndTheOtherOneDoes) {
  Upgrade();
  Maintain();
  const RegistrationStore::Snapshot gone = Named("es384");
  ASSERT_TRUE(AnyFileContains(dir_ / "copies", gone->newest().key.blob));
  ASSERT_TRUE(RemoveNow(store(), gone->id).ok());
  EXPECT_FALSE(AnyFileContains(dir_.path(), gone->newest().key.blob));
  EXPECT_FALSE(AnyFileContains(dir_.path(), gone->newest().client_id));
  EXPECT_EQ(NamesIn(kept_), "rs256");
  EXPECT_EQ(OpenCopy(kept_)->QueryInt("SELECT schema_version FROM meta").value(), 1);
}

// Its tables have no place for who suspended and since when.
TEST_F(BeforeUpgradeTest, SuspendedSince_TheWayBackDoesNotUndoIt) {
  Upgrade();
  ASSERT_TRUE(UpdateNow(store(), Named("rs256")->id, [](Registration& r) {
                r.suspension = Suspension{.by_uid = 0, .by_administrator = true};
                return absl::OkStatus();
              }).ok());
  Maintain();
  EXPECT_EQ(NamesIn(kept_), "es384");
}

TEST_F(BeforeUpgradeTest, NoLongerSharedSince_TheWayBackDoesNotShareItAgain) {
  std::filesystem::copy_file(SMARTKEY_FIXTURES "/0.1.0/daemon/state/smartkeyd.db", database_);
  // Its tables could hold them, though nothing made any.
  ASSERT_TRUE(SqliteConnection::Open(database_)
                  ->Execute("INSERT INTO shares SELECT 'share-' || column1, id, column1, "
                            "'user:bob', 1001, -1, '', '[]', '[\"token\"]', 1000, NULL, 0 "
                            "FROM registrations, (VALUES (0), (1)) WHERE name = 'rs256'")
                  .ok());
  Start();
  ASSERT_EQ(Named("rs256")->shares.size(), 2u);
  ASSERT_TRUE(UpdateNow(store(), Named("rs256")->id, [](Registration& r) {
                r.shares.erase(r.shares.begin());
                return absl::OkStatus();
              }).ok());
  Maintain();
  EXPECT_EQ(NamesIn(kept_), "es384,rs256");
  EXPECT_EQ(OpenCopy(kept_)->QueryText("SELECT group_concat(id) FROM shares").value(), "share-1");
  EXPECT_FALSE(AnyFileContains(dir_.path(), "share-0"));
}

TEST_F(BeforeUpgradeTest, OrdinaryChange_LeavesItAlone) {
  Upgrade();
  const std::string before = ReadFile(dir_ / ("copies/" + kept_));
  ASSERT_TRUE(UpdateNow(store(), Named("rs256")->id, [](Registration& r) {
                r.label = Identifying("another label");
                return absl::OkStatus();
              }).ok());
  Maintain();
  EXPECT_TRUE(ReadFile(dir_ / ("copies/" + kept_)) == before);
}

TEST_F(BeforeUpgradeTest, DatabaseIsLostAndThereIsNoOtherCopy_ItIsTakenUp) {
  Upgrade();
  const absl::Time upgraded = clock_.Now();
  Stop();
  std::filesystem::remove(database_);
  clock_.Advance(absl::Minutes(1));
  Start();
  EXPECT_EQ(ReasonOf(store().availability()), Reason::kStoreUnavailable);
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_copy, 2);
  EXPECT_EQ(recovery->copy.file, "copies/" + kept_);
  EXPECT_EQ(recovery->copy.made_at, upgraded);
  EXPECT_TRUE(std::filesystem::exists(recovery->set_aside + "/" + kept_));
}

// There was no room for the copy that is due after an upgrade, say. In these tables no time stands.
TEST_F(BeforeUpgradeTest, DatabaseIsLostAndTheCopyOfTheDayIsOlder_ItIsTakenUpAndNotThatOne) {
  Upgrade();
  Stop();
  std::filesystem::copy_file(dir_ / ("copies/" + kept_), dir_ / "copies/smartkeyd-20270114.db");
  std::filesystem::remove(database_);
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->copy.file, "copies/" + kept_);
}

// As an older version finds it, whose way back is over.
TEST_F(BeforeUpgradeTest, CopyOfANewerSchema_IsNotTakenUpAndThatIsSaid) {
  Upgrade();
  const std::string newer = absl::StrCat("UPDATE meta SET schema_version = ", kSchemaVersion + 1);
  ASSERT_TRUE(OpenCopy(kept_)->Execute(newer).ok());
  Stop();
  std::filesystem::remove(database_);
  Start();
  const absl::Status status = Recover(kept_).status();
  EXPECT_EQ(ReasonOf(status), Reason::kStoreTooNew);
  EXPECT_TRUE(absl::StrContains(
      status.message(), absl::StrCat("it has schema version ", kSchemaVersion + 1,
                                     ", this smartkeyd knows versions up to ", kSchemaVersion)))
      << status;
}

TEST_F(BeforeUpgradeTest, UpgradesThatAreKilledAgainAndAgain_LeaveThreeAtMost) {
  const StateDirectory directory = StateDirectory::Lock(dir_.path()).value();
  SqliteConnection db = OpenDatabase(directory, clock_.Now()).value();
  for (int second = 0; second < 5; ++second) {
    const absl::Time now = clock_.Now() + absl::Seconds(second);
    ASSERT_TRUE(KeepBeforeUpgrade(directory, db, now).ok());
  }
  EXPECT_EQ(Copies(),
            (Names{"before-upgrade-20270115-080002.db", "before-upgrade-20270115-080003.db",
                   "before-upgrade-20270115-080004.db"}));
}

TEST(CopyIsDue, ADayHasPassedOrAnUpgradeCameSince) {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  const auto ago = [&](int hours) { return now - absl::Hours(hours); };
  const std::string daily = "copies/smartkeyd-20270115.db", older = "copies/smartkeyd-20270114.db";
  const std::string upgrade = "copies/before-upgrade-20270115-060000.db";
  EXPECT_TRUE(CopyIsDue({}, now));
  EXPECT_TRUE(CopyIsDue({{daily}}, now)) << "it cannot be read";
  EXPECT_TRUE(CopyIsDue({{daily}, {older, ago(20)}}, now)) << "the newest cannot be read";
  EXPECT_FALSE(CopyIsDue({{daily, ago(23)}}, now));
  EXPECT_TRUE(CopyIsDue({{daily, ago(24)}}, now));
  EXPECT_TRUE(CopyIsDue({{daily, ago(-1)}}, now)) << "made in the future";
  EXPECT_TRUE(CopyIsDue({{upgrade, ago(2)}}, now));
  EXPECT_TRUE(CopyIsDue({{daily, ago(3)}, {upgrade, ago(2)}}, now));
  EXPECT_FALSE(CopyIsDue({{daily, ago(1)}, {upgrade, ago(2)}}, now));
  EXPECT_FALSE(CopyIsDue({{daily, ago(1)}, {upgrade, ago(-2)}}, now)) << "the clock went back";
}

}  // namespace
}  // namespace smartkey
