// SPDX-License-Identifier: Apache-2.0
// The copies of the database, and what must not stay in them; and a state directory that is a copy
// itself.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/daemon/store/file_size_limit.h"
#include "tests/daemon/store/store_fixture.h"

namespace smartkey {
namespace {

class DailyCopiesTest : public StoreFixture {};

TEST_F(DailyCopiesTest, NoCopyYet_OneIsMadeAndIsADatabaseByItself) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  EXPECT_TRUE(Copies().empty());
  Maintain();
  EXPECT_EQ(Copies(), (Names{"smartkeyd-20270115.db"}));
  EXPECT_EQ(OpenCopy("smartkeyd-20270115.db")->QueryText("SELECT id FROM registrations").value(),
            "r1");
  struct stat status = {};
  ASSERT_EQ(stat((dir_ / "copies/smartkeyd-20270115.db").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((dir_ / "copies").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  const StoreCondition condition = store().condition();
  ASSERT_EQ(condition.copies.size(), 1u);
  EXPECT_EQ(condition.copies[0].file, "copies/smartkeyd-20270115.db");
  EXPECT_EQ(condition.copies[0].made_at, clock_.Now());
  EXPECT_TRUE(condition.copying.ok());
  EXPECT_EQ(condition.schema_version, kSchemaVersion);
}

TEST_F(DailyCopiesTest, ADayHasNotPassed_NoneIsMadeEvenAfterARestart) {
  Start();
  Maintain();
  const absl::Time made_at = clock_.Now();
  clock_.Advance(absl::Hours(23));
  Maintain();
  Start();
  Maintain();
  ASSERT_EQ(store().condition().copies.size(), 1u);
  EXPECT_EQ(store().condition().copies[0].made_at, made_at);
}

TEST_F(DailyCopiesTest, AfterFiveDays_TheNewestThreeAreKept) {
  Start();
  for (int day = 0; day < 5; ++day) {
    ASSERT_TRUE(Insert(absl::StrCat("r", day)).ok());
    Maintain();
    clock_.Advance(absl::Hours(24));
  }
  EXPECT_EQ(Copies(),
            (Names{"smartkeyd-20270117.db", "smartkeyd-20270118.db", "smartkeyd-20270119.db"}));
  EXPECT_EQ(
      OpenCopy("smartkeyd-20270117.db")->QueryInt("SELECT count(*) FROM registrations").value(), 3);
  EXPECT_EQ(store().condition().copies[0].file, "copies/smartkeyd-20270119.db");
}

TEST_F(DailyCopiesTest, ClockWasInTheFutureOnce_TheNewestCopyIsStillTheFirstOfTheList) {
  Start();
  clock_.StepWall(absl::Hours(24 * 365));
  Maintain();
  clock_.StepWall(-absl::Hours(24 * 365));
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  ASSERT_EQ(store().condition().copies.size(), 1u);
  EXPECT_EQ(store().condition().copies[0].made_at, clock_.Now());
  EXPECT_EQ(
      OpenCopy("smartkeyd-20280115.db")->QueryInt("SELECT count(*) FROM registrations").value(), 1);
}

TEST_F(DailyCopiesTest, DiskIsFull_IsSaidAndHarmsNothing) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  clock_.Advance(absl::Hours(24));
  {
    const FileSizeLimit full(8192);
    Maintain();
    EXPECT_EQ(ReasonOf(store().condition().copying), Reason::kStoreUnavailable);
    EXPECT_TRUE(store().availability().ok());
    EXPECT_EQ(Copies(), (Names{"smartkeyd-20270115.db"}));
  }
  Maintain();
  EXPECT_EQ(Copies().size(), 1u) << "tried again at once";
  clock_.Advance(absl::Minutes(10));
  Maintain();
  EXPECT_TRUE(store().condition().copying.ok());
  EXPECT_EQ(Copies().size(), 2u);
  EXPECT_TRUE(Insert("r2").ok());
}

TEST_F(DailyCopiesTest, FolderOfTheCopiesIsALinkElsewhere_NothingIsCopiedThere) {
  const TempDir elsewhere;
  std::filesystem::create_directory_symlink(elsewhere.path(), dir_ / "copies");
  Start();
  Maintain();
  EXPECT_EQ(ReasonOf(store().condition().copying), Reason::kStoreUnavailable);
  EXPECT_TRUE(FilesIn(elsewhere.path()).empty());
  EXPECT_TRUE(Insert("r1").ok());
}

TEST_F(DailyCopiesTest, LinkAmongTheCopies_IsNeitherReadNorPurgedNorCounted) {
  const TempDir elsewhere;
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  std::filesystem::copy_file(dir_ / "copies/smartkeyd-20270115.db", elsewhere / "x.db");
  const std::string content = ReadFile(elsewhere / "x.db");
  std::filesystem::create_symlink(elsewhere / "x.db", dir_ / "copies/smartkeyd-20270116.db");
  ASSERT_TRUE(RemoveNow(store(), "r1").ok());
  EXPECT_TRUE(ReadFile(elsewhere / "x.db") == content);
  EXPECT_EQ(store().condition().copies.size(), 1u);
}

TEST_F(DailyCopiesTest, RegistrationIsRemoved_NothingOfItStaysInTheCopies) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  ASSERT_TRUE(Insert("r2").ok());
  for (int day = 0; day < 3; ++day) {
    Maintain();
    clock_.Advance(absl::Hours(24));
  }
  ASSERT_EQ(Copies().size(), 3u);
  ASSERT_TRUE(RemoveNow(store(), "r1").ok());
  for (const char* trace : {"blob-r1", "patient-r1", "name-r1", "client-r1", "share-a-r1"}) {
    EXPECT_FALSE(AnyFileContains(dir_.path(), trace)) << trace;
  }
  EXPECT_EQ(Copies().size(), 3u);
  for (const std::string& copy : Copies()) {
    EXPECT_EQ(OpenCopy(copy)->QueryText("SELECT id FROM registrations").value(), "r2");
  }
}

TEST_F(DailyCopiesTest, KeyIsDropped_ItIsInNoCopyWhileTheRegistrationStays) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.generations.erase(r.generations.begin());
                return absl::OkStatus();
              }).ok());
  EXPECT_FALSE(AnyFileContains(dir_.path(), "blob-r1-1"));
  absl::StatusOr<SqliteConnection> copy = OpenCopy("smartkeyd-20270115.db");
  EXPECT_EQ(copy->QueryInt("SELECT group_concat(number) FROM generations").value(), 4);
}

// An older state that is taken up must not undo what somebody forbade.
TEST_F(DailyCopiesTest, SuspendedOrNoLongerShared_IsSoInTheCopyThatIsTakenUp) {
  Start();
  for (const char* id : {"r1", "r2", "r3"}) {
    Registration registration = SampleRegistration(id);
    registration.suspension.reset();
    ASSERT_TRUE(InsertNow(store(), std::move(registration)).ok());
  }
  Maintain();
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.suspension = Suspension{.by_uid = 0, .by_administrator = true, .why = "stolen"};
                return absl::OkStatus();
              }).ok());
  ASSERT_TRUE(UpdateNow(store(), "r2", [](Registration& r) {
                r.shares.erase(r.shares.begin());
                return absl::OkStatus();
              }).ok());
  ASSERT_TRUE(UpdateNow(store(), "r3", [](Registration& r) {
                r.shares[0].scopes = {"patient/Observation.rs"};
                return absl::OkStatus();
              }).ok());
  Maintain();
  Stop();
  std::filesystem::remove(database_);
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_copy, 3);
  const size_t shares = SampleRegistration("r2").shares.size();
  ASSERT_GT(shares, 0u);
  ASSERT_TRUE(store().Find("r1")->suspension.has_value());
  EXPECT_TRUE(store().Find("r1")->suspension->by_administrator);
  EXPECT_EQ(store().Find("r2")->shares.size(), shares - 1);
  EXPECT_EQ(store().Find("r3")->shares[0].scopes,
            (std::vector<std::string>{"patient/Observation.rs"}));
}

TEST_F(DailyCopiesTest, KilledBetweenSuspensionAndPurge_TheNextStartPurges) {
  Start();
  Registration registration = SampleRegistration("r1");
  registration.suspension.reset();
  ASSERT_TRUE(InsertNow(store(), std::move(registration)).ok());
  Maintain();
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.suspension = Suspension{.by_uid = 7};
                return absl::OkStatus();
              }).ok());
  const std::string copy = Copies().front();
  constexpr char kQuery[] = "SELECT ifnull(suspended_by_uid, -1) FROM registrations";
  EXPECT_EQ(OpenCopy(copy)->QueryInt(kQuery).value(), -1);  // not yet
  Start();
  EXPECT_EQ(OpenCopy(copy)->QueryInt(kQuery).value(), 7);
}

TEST_F(DailyCopiesTest, OrdinaryChanges_LeaveTheCopiesAlone) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  const std::string before = ReadFile(dir_ / "copies/smartkeyd-20270115.db");
  ASSERT_TRUE(Insert("r2").ok());
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.generations[0].refusals = 9;
                return absl::OkStatus();
              }).ok());
  EXPECT_TRUE(ReadFile(dir_ / "copies/smartkeyd-20270115.db") == before);
}

TEST_F(DailyCopiesTest, KilledBetweenDeletionAndPurge_TheNextStartPurges) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  ASSERT_TRUE(Insert("r2").ok());
  Maintain();
  Stop();
  ASSERT_TRUE(SqliteConnection::Open(database_)
                  ->Execute("PRAGMA foreign_keys=ON; BEGIN; DELETE FROM registrations WHERE id = "
                            "'r1'; UPDATE meta SET copies_to_purge = 1; COMMIT")
                  .ok());
  EXPECT_TRUE(AnyFileContains(dir_ / "copies", "blob-r1"));
  Start();
  EXPECT_FALSE(AnyFileContains(dir_.path(), "blob-r1"));
  EXPECT_TRUE(AnyFileContains(dir_ / "copies", "blob-r2"));
  EXPECT_EQ(SqliteConnection::Open(database_)->QueryInt("SELECT copies_to_purge FROM meta").value(),
            0);
}

TEST_F(DailyCopiesTest, CopyThatCannotBePurged_IsRemovedAndMadeAnew) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  ASSERT_TRUE(Insert("r2").ok());
  Maintain();
  ASSERT_TRUE(
      OpenCopy("smartkeyd-20270115.db")->Execute("UPDATE meta SET schema_version = 1").ok());
  ASSERT_TRUE(RemoveNow(store(), "r1").ok());
  EXPECT_TRUE(Copies().empty());
  EXPECT_FALSE(AnyFileContains(dir_.path(), "blob-r1"));
  Maintain();
  EXPECT_EQ(Copies().size(), 1u);
  EXPECT_EQ(store().condition().copies.size(), 1u);
}

TEST_F(DailyCopiesTest, OtherFilesInTheFolder_AreLeftAlone) {
  std::filesystem::create_directories(dir_ / "copies");
  const Names mine = {"smartkeyd-mine.db", "smartkeyd-20270101.db.bak", "before-upgrade-mine.db",
                      "before-upgrade-20270101.db", "notes"};
  for (const std::string& name : mine) {
    WriteFile(dir_ / absl::StrCat("copies/", name), "mine");
  }
  Start();
  EXPECT_TRUE(store().availability().ok());  // they do not say that there was a database
  for (int day = 0; day < 5; ++day) {
    Maintain();
    clock_.Advance(absl::Hours(24));
  }
  EXPECT_EQ(Copies().size(), mine.size() + 3);
}

TEST_F(DailyCopiesTest, StartedOnAnotherComputer_IsSaidUntilItIsAdopted) {
  Start("machine-a");
  ASSERT_TRUE(Insert("r1").ok());
  EXPECT_FALSE(store().condition().of_another_machine);
  Start("machine-a");
  EXPECT_FALSE(store().condition().of_another_machine);
  for (int round = 0; round < 2; ++round) {
    Start("machine-b");
    EXPECT_TRUE(store().condition().of_another_machine);
    EXPECT_TRUE(store().availability().ok());
    ExpectThere("r1");
  }
  ASSERT_TRUE(Adopt().ok());
  EXPECT_FALSE(store().condition().of_another_machine);
  Start("machine-b");
  EXPECT_FALSE(store().condition().of_another_machine);
  Start("machine-a");  // and the first one is the other now
  EXPECT_TRUE(store().condition().of_another_machine);
}

TEST_F(DailyCopiesTest, MachineIsNotKnown_NothingIsSaid) {
  Start("machine-a");
  Start("");
  EXPECT_FALSE(store().condition().of_another_machine);
  Start("machine-a");
  EXPECT_FALSE(store().condition().of_another_machine);
}

TEST_F(DailyCopiesTest, RecoveredFromACopyOfAnotherComputer_IsStillSaid) {
  Start("machine-a");
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  Stop();
  OverwriteHeader();
  Start("machine-b");
  ASSERT_TRUE(Recover().ok());
  EXPECT_TRUE(store().condition().of_another_machine);
}

}  // namespace
}  // namespace smartkey
