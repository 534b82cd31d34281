// SPDX-License-Identifier: Apache-2.0
// Damaged and lost databases: what is said, what is refused, and how they come back.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "daemon/store/sqlite/sqlite_status.h"
#include "tests/daemon/store/file_size_limit.h"
#include "tests/daemon/store/store_fixture.h"

namespace smartkey {
namespace {

class StoreRecoveryTest : public StoreFixture {
 protected:
  // Two registrations, a copy with both; one more, that the copy does not have. Stopped.
  void MakeHistory() {
    Start();
    ASSERT_TRUE(Insert("r1").ok());
    ASSERT_TRUE(Insert("r2").ok());
    Maintain();
    ASSERT_TRUE(Insert("r3").ok());
    Stop();
  }

  void ExpectUnavailable() {
    EXPECT_EQ(ReasonOf(store().availability()), Reason::kStoreUnavailable);
    EXPECT_TRUE(absl::StrContains(RemedyOf(store().availability()), "smartkeyctl store recover"));
    EXPECT_TRUE(absl::StrContains(store().availability().message(), database_));
    EXPECT_EQ(store().health(), store().availability());
    EXPECT_EQ(store().condition().schema_version, 0);
    EXPECT_TRUE(store().List().empty());
    EXPECT_EQ(ReasonOf(Insert("other")), Reason::kStoreUnavailable);
    EXPECT_EQ(
        ReasonOf(UpdateNow(store(), "r1", [](Registration&) { return absl::OkStatus(); }).status()),
        Reason::kStoreUnavailable);
    EXPECT_EQ(ReasonOf(RemoveNow(store(), "r1")), Reason::kStoreUnavailable);
  }
};

TEST_F(StoreRecoveryTest, Damaged_StartsWithoutRegistrationsAndTouchesNothing) {
  const std::function<void()> damages[] = {
      [&] { OverwriteHeader(); },
      [&] { OverwritePage(RootPageOf("registrations")); },
      [&] { WriteFile(database_, ReadFile(database_).substr(0, 5000)); },
      [&] { WriteFile(database_, ""); },
      [&] { WriteFile(database_, "something else altogether"); },
      [&] {
        ASSERT_TRUE(SqliteConnection::Open(database_)
                        ->Execute("UPDATE generations SET state = 99 WHERE number = 1")
                        .ok());
      },
  };
  MakeHistory();
  const std::string sound = ReadFile(database_);
  for (const auto& damage : damages) {
    Stop();
    std::filesystem::remove(database_ + "-wal");
    WriteFile(database_, sound);
    damage();
    const std::string before = ReadFile(database_);
    Start();
    ExpectUnavailable();
    Maintain();
    ExpectUnavailable();
    EXPECT_TRUE(ReadFile(database_) == before);
    EXPECT_EQ(FilesIn(dir_ / "copies").size(), 1u);
  }
}

TEST_F(StoreRecoveryTest, Lost_IsNotMadeAnewIfThereWasOne) {
  MakeHistory();
  std::filesystem::remove(database_);
  Start();
  ExpectUnavailable();
  EXPECT_FALSE(std::filesystem::exists(database_));
  Stop();
  std::filesystem::remove(dir_ / "instance");  // the copy alone says that there was one
  Start();
  ExpectUnavailable();
  Stop();
  std::filesystem::remove_all(dir_ / "copies");
  Start();  // now nothing does
  EXPECT_TRUE(store().availability().ok());
  EXPECT_TRUE(Insert("r1").ok());
}

TEST_F(StoreRecoveryTest, Unavailable_StillKeepsASecondStoreOut) {
  MakeHistory();
  OverwriteHeader();
  Start();
  EXPECT_EQ(ReasonOf(SqliteRegistrationStore::Open({dir_.path(), ""}, clock_).status()),
            Reason::kAlreadyRunning);
}

TEST_F(StoreRecoveryTest, Unavailable_TheInstanceIsStillKnown) {
  Start();
  const std::string instance = store().instance_id();
  Stop();
  OverwriteHeader();
  Start();
  EXPECT_EQ(store().instance_id(), instance);
}

TEST_F(StoreRecoveryTest, NothingOfTheFileCanBeRead_TheCopyIsTakenUp) {
  MakeHistory();
  clock_.Advance(absl::Hours(3));
  OverwriteHeader();
  const std::string damaged = ReadFile(database_);
  Start();
  const std::string instance = store().instance_id();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_copy, 2);
  EXPECT_EQ(recovery->from_damaged_file, 0);
  EXPECT_TRUE(recovery->incomplete);
  EXPECT_EQ(recovery->copy.file, "copies/smartkeyd-20270115.db");
  EXPECT_EQ(recovery->copy.made_at, clock_.Now() - absl::Hours(3));
  // Goes on at once, and what was there is kept, byte for byte.
  ExpectThere("r1");
  ExpectThere("r2");
  EXPECT_EQ(store().Find("r3"), nullptr);
  EXPECT_TRUE(Insert("r4").ok());
  EXPECT_EQ(store().instance_id(), instance);
  EXPECT_TRUE(ReadFile(recovery->set_aside + "/smartkeyd.db") == damaged);
  EXPECT_EQ(FilesIn(recovery->set_aside),
            (std::vector<std::string>{"smartkeyd-20270115.db", "smartkeyd.db"}));
  EXPECT_EQ(store().condition().set_aside, (std::vector<std::string>{recovery->set_aside}));
  EXPECT_EQ(store().condition().copies.size(), 1u);
  EXPECT_EQ(store().condition().copies[0].made_at, clock_.Now());
  Start();
  EXPECT_TRUE(store().availability().ok());
  ExpectThere("r1");
  ExpectThere("r4");
  EXPECT_EQ(store().List().size(), 3u);
}

TEST_F(StoreRecoveryTest, Lost_TheCopyIsTakenUp) {
  MakeHistory();
  std::filesystem::remove(database_);
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_copy, 2);
  ExpectThere("r1");
  ExpectThere("r2");
}

TEST_F(StoreRecoveryTest, OnlyAnIndexIsDamaged_NothingIsLost) {
  MakeHistory();
  OverwritePage(RootPageOf("generations_by_client"));
  Start();
  ExpectUnavailable();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_damaged_file, 3);
  EXPECT_EQ(recovery->from_copy, 0);
  EXPECT_FALSE(recovery->incomplete);
  for (const char* id : {"r1", "r2", "r3"}) ExpectThere(id);
}

TEST_F(StoreRecoveryTest, APageOfManyIsDamaged_TheRestComesFromTheFileAndThatFromTheCopy) {
  constexpr int kCount = 60;
  Start();
  for (int i = 0; i < kCount; ++i) ASSERT_TRUE(Insert(absl::StrCat("r", i)).ok());
  Maintain();
  ASSERT_TRUE(Insert("newest").ok());
  Stop();
  // A page in the middle of the table, which is read from both sides; not the last, with the
  // newest.
  const int64_t page = SqliteConnection::Open(database_)
                           ->QueryInt(
                               "SELECT pageno FROM dbstat WHERE name = 'registrations' AND "
                               "pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 1")
                           .value();
  OverwritePage(page);
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_TRUE(recovery->incomplete);
  EXPECT_GT(recovery->from_damaged_file, kCount / 2);
  EXPECT_GT(recovery->from_copy, 0);
  EXPECT_EQ(recovery->registrations(), kCount + 1);
  for (int i = 0; i < kCount; ++i) ExpectThere(absl::StrCat("r", i));
  ExpectThere("newest");
}

TEST_F(StoreRecoveryTest, NewerGenerationsOfTheFile_AreKept) {
  MakeHistory();
  Start();
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.generations.push_back(SampleGeneration("r1", 5));
                return absl::OkStatus();
              }).ok());
  Stop();
  OverwritePage(RootPageOf("generations_by_enrollment"));
  Start();
  ASSERT_TRUE(Recover().ok());
  EXPECT_EQ(store().Find("r1")->newest().number, 5);
}

TEST_F(StoreRecoveryTest, NewestCopyIsDamagedToo_TheOneBeforeIsTaken) {
  MakeHistory();
  clock_.Advance(absl::Hours(24));
  Start();
  Maintain();
  Stop();
  OverwriteHeader();
  WriteFile(dir_ / "copies/smartkeyd-20270116.db", "damaged");
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->copy.file, "copies/smartkeyd-20270115.db");
  EXPECT_EQ(recovery->from_copy, 2);
  EXPECT_EQ(ReadFile(recovery->set_aside + "/smartkeyd-20270116.db"), "damaged");
}

TEST_F(StoreRecoveryTest, CopyOfAnOlderVersion_IsMigrated) {
  MakeHistory();
  std::filesystem::copy_file(SMARTKEY_FIXTURES "/0.1.0/daemon/state/smartkeyd.db",
                             dir_ / "copies/smartkeyd-20270115.db",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(database_);
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_copy, 2);
  EXPECT_EQ(store().List().size(), 2u);
}

TEST_F(StoreRecoveryTest, NothingIsLeftAnywhere_RecoverSaysSoAndResetBeginsAnew) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  const std::string instance = store().instance_id();
  Stop();
  OverwriteHeader();
  const std::string damaged = ReadFile(database_);
  Start();
  const absl::Status refused = Recover().status();
  EXPECT_EQ(ReasonOf(refused), Reason::kStoreUnavailable);
  EXPECT_TRUE(absl::StrContains(RemedyOf(refused), "store reset"));
  EXPECT_TRUE(ReadFile(database_) == damaged);

  const absl::StatusOr<std::string> folder = Reset();
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(ReadFile(*folder + "/smartkeyd.db") == damaged);
  EXPECT_TRUE(store().availability().ok());
  EXPECT_TRUE(store().List().empty());
  // Keys in a token keep telling whose they are.
  EXPECT_EQ(store().instance_id(), instance);
  EXPECT_TRUE(Insert("r2").ok());
  Start();
  ExpectThere("r2");
}

TEST_F(StoreRecoveryTest, ResetByMistake_TheCopyThatWasSetAsideCanBeTakenUp) {
  MakeHistory();
  OverwriteHeader();
  Start();
  const absl::StatusOr<std::string> folder = Reset();
  ASSERT_TRUE(folder.ok());
  const absl::StatusOr<StoreRecovery> recovery =
      Recover(absl::StrCat(*folder, "/smartkeyd-20270115.db"));
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  ExpectThere("r1");
  ExpectThere("r2");
  // And now there is something that must not be replaced.
  EXPECT_EQ(ReasonOf(Recover("smartkeyd-20270115.db").status()), Reason::kInvalidArgument);
}

TEST_F(StoreRecoveryTest, InOrder_NothingIsRecoveredOrReset) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  Maintain();
  EXPECT_EQ(ReasonOf(Recover().status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Recover("smartkeyd-20270115.db").status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Reset().status()), Reason::kInvalidArgument);
  ExpectThere("r1");
  EXPECT_FALSE(std::filesystem::exists(dir_ / "set-aside"));
}

TEST_F(StoreRecoveryTest, CopyOutsideTheStateDirectoryOrAbsent_IsRefused) {
  MakeHistory();
  const TempDir elsewhere;
  std::filesystem::copy_file(dir_ / "copies/smartkeyd-20270115.db", elsewhere / "x.db");
  std::filesystem::create_symlink(elsewhere / "x.db", dir_ / "copies/link.db");
  ASSERT_EQ(mkfifo((dir_ / "copies/pipe.db").c_str(), 0600), 0);
  OverwriteHeader();
  Start();
  const std::string name = std::filesystem::path(elsewhere.path()).filename().string();
  for (const std::string& copy :
       {elsewhere / "x.db", absl::StrCat("../", name, "/x.db"),
        absl::StrCat("copies/../../", name, "/x.db"), std::string("smartkeyd-20270114.db"),
        std::string("/"), std::string("copies/"), std::string("link.db"), std::string("pipe.db")}) {
    EXPECT_EQ(ReasonOf(Recover(copy).status()), Reason::kInvalidArgument) << copy;
  }
  EXPECT_FALSE(std::filesystem::exists(dir_ / "set-aside"));
}

TEST_F(StoreRecoveryTest, NewerSchema_IsNoDamageButMayBeReset) {
  MakeHistory();
  ASSERT_TRUE(
      SqliteConnection::Open(database_)->Execute("UPDATE meta SET schema_version = 99").ok());
  const std::string before = ReadFile(database_);
  Start();
  EXPECT_EQ(ReasonOf(store().availability()), Reason::kStoreTooNew);
  EXPECT_EQ(ReasonOf(Insert("r4")), Reason::kStoreTooNew);
  EXPECT_EQ(ReasonOf(Recover().status()), Reason::kStoreTooNew);
  EXPECT_EQ(ReasonOf(Recover("smartkeyd-20270115.db").status()), Reason::kStoreTooNew);
  EXPECT_TRUE(ReadFile(database_) == before);
  EXPECT_TRUE(Reset().ok());
  EXPECT_TRUE(Insert("r4").ok());
}

TEST_F(StoreRecoveryTest, DiskIsFullDuringRecovery_EverythingStaysAsItWas) {
  MakeHistory();
  OverwriteHeader();
  const std::string damaged = ReadFile(database_);
  Start();
  {
    const FileSizeLimit full(8192);
    EXPECT_EQ(ReasonOf(Recover().status()), Reason::kStoreUnavailable);
    EXPECT_EQ(ReasonOf(Reset().status()), Reason::kStoreUnavailable);
  }
  EXPECT_TRUE(ReadFile(database_) == damaged);
  ExpectUnavailable();
  ASSERT_TRUE(Recover().ok());
  ExpectThere("r1");
}

TEST_F(StoreRecoveryTest, DiskHasRoomAgainAndNobodyWrites_HealthComesBackWithTheNextMaintenance) {
  Start();
  ASSERT_TRUE(Insert("r1").ok());
  {
    const FileSizeLimit full(1024);
    EXPECT_EQ(ReasonOf(Insert("r2")), Reason::kStoreUnavailable);
    Maintain();
    EXPECT_EQ(ReasonOf(store().health()), Reason::kStoreUnavailable);
  }
  Maintain();
  EXPECT_TRUE(store().health().ok()) << store().health();
  Start();
  ExpectThere("r1");
  EXPECT_EQ(store().List().size(), 1u);
}

TEST_F(StoreRecoveryTest, TakenUp_IsToldOnceThereAreRegistrations) {
  MakeHistory();
  OverwriteHeader();
  Start();
  int told = 0;
  store().OnTakenUp([&] {
    ++told;
    EXPECT_EQ(store().List().size(), 2u);  // they are there, and writes may be begun
    store().Insert(SampleRegistration("later"), [](absl::Status) {});
  });
  Maintain();
  EXPECT_EQ(told, 0);
  ASSERT_TRUE(Recover().ok());
  EXPECT_EQ(told, 1);
  Maintain();
  EXPECT_EQ(told, 1);
  ExpectThere("later");
}

TEST_F(StoreRecoveryTest, FileIsPutBackByHand_IsNoticedWithoutARestart) {
  MakeHistory();
  const std::string sound = ReadFile(database_);
  OverwriteHeader();
  Start();
  ExpectUnavailable();
  WriteFile(database_, sound);
  Maintain();
  EXPECT_TRUE(store().availability().ok());
  EXPECT_TRUE(store().health().ok());
  ExpectThere("r3");
}

TEST_F(StoreRecoveryTest, DirectoryCannotBeUsedAtStart_IsTriedAgain) {
  const std::string state = dir_ / "parent/state";
  store_ = SqliteRegistrationStore::Open({state, ""}, clock_).value();
  EXPECT_EQ(ReasonOf(store().availability()), Reason::kStoreUnavailable);
  EXPECT_TRUE(absl::StrContains(RemedyOf(store().availability()), "state directory exists"));
  EXPECT_EQ(ReasonOf(Insert("r1")), Reason::kStoreUnavailable);
  // Not damage: recovering would not help, and nothing is known to be lost.
  EXPECT_EQ(ReasonOf(Recover().status()), Reason::kStoreUnavailable);
  EXPECT_EQ(ReasonOf(Reset().status()), Reason::kStoreUnavailable);
  std::filesystem::create_directory(dir_ / "parent");
  Maintain();
  EXPECT_TRUE(store().availability().ok()) << store().availability();
  EXPECT_TRUE(Insert("r1").ok());
}

TEST_F(StoreRecoveryTest, DamagedWhileInUse_MemoryGoesOnAndIsWhatIsRecovered) {
  MakeHistory();
  Start();
  int told = 0;
  store().OnTakenUp([&] { ++told; });
  ASSERT_TRUE(Insert("r4").ok());
  OverwritePage(RootPageOf("generations"));
  clock_.Advance(absl::Hours(25));
  Maintain();  // the copy of the day finds it
  EXPECT_TRUE(store().availability().ok());
  EXPECT_EQ(ReasonOf(store().health()), Reason::kStoreUnavailable);
  EXPECT_TRUE(SaysDamaged(store().health()));
  EXPECT_EQ(FilesIn(dir_ / "copies"), (std::vector<std::string>{"smartkeyd-20270115.db"}));
  ExpectThere("r4");
  EXPECT_EQ(ReasonOf(Insert("r5")), Reason::kStoreUnavailable);
  EXPECT_EQ(ReasonOf(Recover("smartkeyd-20270115.db").status()), Reason::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(RemedyOf(Reset().status()), "store recover"));

  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_memory, 4);
  EXPECT_EQ(recovery->from_copy, 0);
  EXPECT_TRUE(store().health().ok());
  EXPECT_EQ(told, 0);  // managers have them in use
  EXPECT_TRUE(Insert("r5").ok());
  Start();
  EXPECT_EQ(store().List().size(), 5u);
  ExpectThere("r4");
  ExpectThere("r5");
}

// What is written into a file without a name is gone with the process: nothing is reported as done.
TEST_F(StoreRecoveryTest, RemovedOrReplacedWhileInUse_IsNoticedBeforeAWriteAndNothingIsLost) {
  const std::function<void()> losses[] = {
      [&] { std::filesystem::remove(database_); },
      [&] {
        std::filesystem::copy_file(database_, dir_ / "other");
        std::filesystem::rename(dir_ / "other", database_);
      },
      [&] { std::filesystem::remove(database_ + "-wal"); },
  };
  Start();
  int there = 0;
  for (const auto& lose : losses) {
    for (const bool noticed_by_maintenance : {false, true}) {
      ASSERT_TRUE(Insert(absl::StrCat("r", ++there)).ok());
      lose();
      if (noticed_by_maintenance) Maintain();
      EXPECT_EQ(ReasonOf(Insert("not written")), Reason::kStoreUnavailable);
      EXPECT_TRUE(SaysDamaged(store().health()));
      EXPECT_TRUE(absl::StrContains(store().health().message(), database_)) << store().health();
      EXPECT_TRUE(store().availability().ok());
      ExpectThere(absl::StrCat("r", there));
      const absl::StatusOr<StoreRecovery> recovery = Recover();
      ASSERT_TRUE(recovery.ok()) << recovery.status();
      EXPECT_EQ(recovery->from_memory, there);
      EXPECT_TRUE(store().health().ok()) << store().health();
      Start();
      EXPECT_EQ(store().List().size(), static_cast<size_t>(there));
      clock_.Advance(absl::Seconds(1));  // a folder of its own for each
    }
  }
}

TEST_F(StoreRecoveryTest, FoldersThatWereSetAsideAreRemovedByHand_AreNoLongerTold) {
  MakeHistory();
  OverwriteHeader();
  Start();
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(store().condition().set_aside.size(), 1u);
  std::filesystem::remove_all(recovery->set_aside);
  Maintain();
  EXPECT_TRUE(store().condition().set_aside.empty());
}

// The moments in the middle of a replacement, as a kill leaves them.
TEST_F(StoreRecoveryTest, KilledBeforeTheNewOneIsComplete_TheOldOneIsThere) {
  MakeHistory();
  const std::string old = ReadFile(database_);
  WriteFile(database_ + ".new", "half made");
  std::filesystem::create_directories(dir_ / "set-aside/20270115-080000");
  std::filesystem::create_hard_link(database_, dir_ / "set-aside/20270115-080000/smartkeyd.db");
  Start();
  EXPECT_TRUE(store().availability().ok());
  for (const char* id : {"r1", "r2", "r3"}) ExpectThere(id);
  EXPECT_FALSE(std::filesystem::exists(database_ + ".new"));
}

TEST_F(StoreRecoveryTest, KilledAfterTheNewOneIsComplete_ItIsPutInItsPlace) {
  MakeHistory();
  const std::string new_one = ReadFile(database_);
  for (const bool old_is_there : {true, false}) {
    Stop();
    WriteFile(database_ + ".next", new_one);
    WriteFile(dir_ / "copies/smartkeyd-20270101.db", "of the old one");
    WriteFile(database_ + "-wal", "log of the old one");
    if (old_is_there) {
      WriteFile(database_, "damaged");
    } else {
      std::filesystem::remove(database_);
    }
    Start();
    EXPECT_TRUE(store().availability().ok()) << store().availability();
    for (const char* id : {"r1", "r2", "r3"}) ExpectThere(id);
    EXPECT_FALSE(std::filesystem::exists(database_ + ".next"));
    EXPECT_TRUE(FilesIn(dir_ / "copies").empty());
  }
}

}  // namespace
}  // namespace smartkey
