// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/database_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/contract/registration_samples.h"
#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

// What later versions may do to the present one.
constexpr int kNext = kSchemaVersion + 1;
constexpr Migration kToNext[] = {{kNext, "ALTER TABLE registrations ADD COLUMN note TEXT"}};
constexpr Migration kToTheOneAfter[] = {
    {kNext, "ALTER TABLE registrations ADD COLUMN note TEXT"},
    {kNext + 1, "UPDATE registrations SET note = 'moved'; CREATE TABLE extra (x INTEGER) STRICT"}};

class SqliteSchema : public testing::Test {
 protected:
  // A closed database with one registration in it.
  void MakeDatabase() {
    auto store = OpenStore(dir_.path()).value();
    ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  }

  absl::StatusOr<SqliteConnection> Open() {
    const absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(dir_.path());
    if (!directory.ok()) return directory.status();
    return OpenDatabase(*directory, now_);
  }

  absl::StatusOr<SqliteConnection> Open(int version, absl::Span<const Migration> migrations) {
    const absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(dir_.path());
    if (!directory.ok()) return directory.status();
    return OpenDatabase(*directory, now_, version, migrations);
  }

  // It is refused for `reason`, with something to do, and not touched.
  void ExpectRefusedUntouched(Reason reason) {
    const std::string before = ReadFile(database_);
    const absl::Status status = OpenStore(dir_.path()).status();
    EXPECT_EQ(ReasonOf(status), reason) << status;
    EXPECT_FALSE(RemedyOf(status).empty());
    EXPECT_TRUE(ReadFile(database_) == before);
  }

  void PutFixtureOf010() {
    std::filesystem::copy_file(SMARTKEY_FIXTURES "/0.1.0/daemon/state/smartkeyd.db", database_);
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15 08:00 UTC
  const TempDir dir_;
  const std::string database_ = dir_ / kDatabaseFile;
  const std::string before_ = dir_ / "copies/before-upgrade-20270115-080000.db";
};

TEST_F(SqliteSchema, NewDatabase_HasTheCurrentVersionAndLeavesNoOtherFile) {
  ASSERT_TRUE(OpenStore(dir_.path()).ok());
  EXPECT_EQ(Open()->QueryInt("SELECT schema_version FROM meta").value(), kSchemaVersion);
  EXPECT_EQ(FilesIn(dir_.path()), (std::vector<std::string>{"instance", "lock", "smartkeyd.db"}));
}

TEST_F(SqliteSchema, EveryConnectionIsDurableAndWipesWhatItDeletes) {
  absl::StatusOr<SqliteConnection> db = Open();
  ASSERT_TRUE(db.ok()) << db.status();
  EXPECT_EQ(db->QueryText("PRAGMA journal_mode").value(), "wal");
  EXPECT_EQ(db->QueryInt("PRAGMA synchronous").value(), 2);  // FULL
  EXPECT_EQ(db->QueryInt("PRAGMA secure_delete").value(), 1);
  EXPECT_EQ(db->QueryInt("PRAGMA foreign_keys").value(), 1);
}

TEST_F(SqliteSchema, TheDatabaseItselfKeepsNamesAndClientIdsUnique) {
  MakeDatabase();
  absl::StatusOr<SqliteConnection> db = Open();
  ASSERT_TRUE(db.ok());
  EXPECT_FALSE(
      db->Execute("INSERT INTO registrations SELECT 'r2', kind, owner_uid, owner_name, "
                  "app_id, server_name, fhir_base, ca_file, allow_loopback_http, name, "
                  "label, patient, fhir_user, context_varies, created_at, NULL, NULL, NULL, "
                  "NULL, NULL, 0, '[]' FROM registrations")
          .ok());
  EXPECT_FALSE(db->Execute("UPDATE generations SET client_id = 'c', enrollment_id = number").ok());
  EXPECT_FALSE(db->Execute("UPDATE generations SET enrollment_id = 'e'").ok());
  EXPECT_TRUE(db->Execute("UPDATE generations SET client_id = '', enrollment_id = ''").ok());
}

TEST_F(SqliteSchema, HeaderOverwritten_IsRefusedUntouched) {
  MakeDatabase();
  std::string bytes = ReadFile(database_);
  bytes.replace(0, 100, std::string(100, 'x'));
  WriteFile(database_, bytes);
  ExpectRefusedUntouched(Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, PagesOverwritten_IsRefusedUntouched) {
  MakeDatabase();
  std::string bytes = ReadFile(database_);
  for (size_t page = 4096; page < bytes.size(); page += 4096) {
    bytes.replace(page, 64, std::string(64, '\x7f'));
  }
  WriteFile(database_, bytes);
  ExpectRefusedUntouched(Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, FileCutShort_IsRefusedUntouched) {
  MakeDatabase();
  WriteFile(database_, ReadFile(database_).substr(0, 5000));
  ExpectRefusedUntouched(Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, FileEmpty_IsRefusedUntouched) {
  MakeDatabase();
  WriteFile(database_, "");
  ExpectRefusedUntouched(Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, DirectoryInItsPlace_IsRefused) {
  std::filesystem::create_directory(database_);
  EXPECT_EQ(ReasonOf(OpenStore(dir_.path()).status()), Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, LogWithoutItsDatabase_IsNotReadIntoANewOne) {
  WriteFile(database_ + "-wal", "something");
  EXPECT_EQ(ReasonOf(OpenStore(dir_.path()).status()), Reason::kStoreUnavailable);
  EXPECT_FALSE(std::filesystem::exists(database_));
}

TEST_F(SqliteSchema, DatabaseOfAnotherProgram_IsRefusedUntouched) {
  WriteFile(database_, "");
  ASSERT_TRUE(SqliteConnection::Open(database_)->Execute("CREATE TABLE other (x)").ok());
  ExpectRefusedUntouched(Reason::kStoreUnavailable);
}

TEST_F(SqliteSchema, ValueThatMakesNoSense_IsRefusedUntouched) {
  for (const char* damage :
       {"UPDATE generations SET state = 99", "UPDATE generations SET algorithm = 'none'",
        "UPDATE generations SET key_type = 'P-521'", "UPDATE shares SET scopes = '{'",
        "UPDATE generations SET key_attributes = '[1]'",
        "UPDATE registrations SET earlier_lifetimes = '[\"long\"]'", "DELETE FROM generations"}) {
    const TempDir dir;
    {
      auto store = OpenStore(dir.path()).value();
      ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
    }
    {
      absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(dir / kDatabaseFile);
      ASSERT_TRUE(db->Execute(damage).ok()) << damage;
      ASSERT_TRUE(db->TruncateLog().ok());
    }
    EXPECT_EQ(ReasonOf(OpenStore(dir.path()).status()), Reason::kStoreUnavailable) << damage;
  }
}

TEST_F(SqliteSchema, NewerSchema_IsRefusedUntouchedInClearWords) {
  MakeDatabase();
  ASSERT_TRUE(Open(kNext, kToNext).ok());
  ExpectRefusedUntouched(Reason::kStoreTooNew);
  const absl::Status status = OpenStore(dir_.path()).status();
  EXPECT_EQ(status.message(),
            absl::StrCat(dir_ / kDatabaseFile, ": the database has schema version ", kNext,
                         ", this smartkeyd knows versions up to ", kSchemaVersion));
}

TEST_F(SqliteSchema, OlderSchema_IsMigratedStepByStepKeepingTheData) {
  MakeDatabase();
  const std::string instance = Open()->QueryText("SELECT instance_id FROM meta").value();
  for (int round = 0; round < 2; ++round) {  // the second time there is nothing to migrate
    absl::StatusOr<SqliteConnection> db = Open(kNext + 1, kToTheOneAfter);
    ASSERT_TRUE(db.ok()) << db.status();
    EXPECT_EQ(db->QueryInt("SELECT schema_version FROM meta").value(), kNext + 1);
    EXPECT_EQ(db->QueryText("SELECT instance_id FROM meta").value(), instance);
    EXPECT_EQ(db->QueryText("SELECT id || note FROM registrations").value(), "r1moved");
    EXPECT_EQ(db->QueryInt("SELECT count(*) FROM generations").value(), 2);
    EXPECT_EQ(db->QueryText("PRAGMA journal_mode").value(), "wal");
  }
  struct stat status = {};
  ASSERT_EQ(stat(database_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(database_ + ".new"));
}

TEST_F(SqliteSchema, DatabaseOf010_IsKeptAsItWasAndItsVersionGoesOnWithIt) {
  PutFixtureOf010();
  {
    // The newest is only in the log, as after a kill.
    absl::StatusOr<SqliteConnection> old = SqliteConnection::Open(database_);
    ASSERT_TRUE(old->UseLog().ok());
    ASSERT_TRUE(old->Execute("UPDATE registrations SET label = 'of late'").ok());
  }
  ASSERT_GT(std::filesystem::file_size(database_ + "-wal"), 0u);
  const TempDir as_it_was;
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(database_ + suffix, as_it_was / kDatabaseFile + suffix);
  }
  ASSERT_TRUE(Open().ok());

  struct stat status = {};
  ASSERT_EQ(stat(before_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(FilesIn(dir_ / "copies").size(), 1u);
  absl::StatusOr<SqliteConnection> kept = SqliteConnection::Open(before_);
  ASSERT_TRUE(
      kept->Execute(absl::StrCat("ATTACH '", as_it_was / kDatabaseFile, "' AS as_it_was")).ok());
  for (const char* table : {"meta", "registrations", "generations", "shares"}) {
    for (const auto& [one, other] : {std::pair("main", "as_it_was"), {"as_it_was", "main"}}) {
      EXPECT_EQ(kept->QueryInt(absl::StrCat("SELECT count(*) FROM (SELECT * FROM ", one, ".", table,
                                            " EXCEPT SELECT * FROM ", other, ".", table, ")"))
                    .value(),
                0)
          << table;
    }
  }
  EXPECT_EQ(kept->QueryInt("SELECT count(*) FROM registrations WHERE label = 'of late'").value(),
            2);

  // The way back of docs/upgrades.md, to a program that knows version 1 only.
  std::filesystem::remove(database_ + "-wal");
  std::filesystem::copy_file(before_, database_, std::filesystem::copy_options::overwrite_existing);
  absl::StatusOr<SqliteConnection> back = Open(1, {});
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->QueryInt("SELECT schema_version FROM meta").value(), 1);
  EXPECT_EQ(back->QueryInt("SELECT count(*) FROM generations").value(), 2);
  EXPECT_TRUE(back->Execute("UPDATE registrations SET suspended_by = 'owner'").ok());
}

TEST_F(SqliteSchema, DatabaseOfBeforeCannotBeKept_NothingIsMigrated) {
  PutFixtureOf010();
  const TempDir elsewhere;
  std::filesystem::create_directory_symlink(elsewhere.path(), dir_ / "copies");
  const std::string before = ReadFile(database_);
  const absl::Status status = Open().status();
  EXPECT_EQ(ReasonOf(status), Reason::kStoreUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), "keeping the database of before the upgrade"))
      << status;
  EXPECT_TRUE(ReadFile(database_) == before);
  EXPECT_TRUE(FilesIn(elsewhere.path()).empty());
  std::filesystem::remove(dir_ / "copies");
  EXPECT_EQ(Open()->QueryInt("SELECT schema_version FROM meta").value(), kSchemaVersion);
}

TEST_F(SqliteSchema, NothingToMigrate_NothingIsKept) {
  MakeDatabase();
  ASSERT_TRUE(Open().ok());
  EXPECT_FALSE(std::filesystem::exists(dir_ / "copies"));
}

TEST_F(SqliteSchema, DatabaseOf010_IsMigratedAndReadWhole) {
  PutFixtureOf010();
  {
    absl::StatusOr<SqliteConnection> old = SqliteConnection::Open(database_);
    ASSERT_EQ(old->QueryInt("SELECT schema_version FROM meta").value(), 1);
    // What 0.1.0 could have written, though nothing in it did.
    ASSERT_TRUE(old->Execute("UPDATE registrations SET suspended_by = 'owner', suspended_why = 'w' "
                             "WHERE name = 'es384'; UPDATE registrations SET context_varies = 1, "
                             "suspended_by = 'administrator', suspended_why = '' "
                             "WHERE name = 'rs256'")
                    .ok());
    ASSERT_TRUE(old->TruncateLog().ok());
  }
  for (int round = 0; round < 2; ++round) {
    const auto store = OpenStore(dir_.path()).value();
    const std::vector<RegistrationStore::Snapshot> all = store->List();
    ASSERT_EQ(all.size(), 2u);
    ASSERT_TRUE(all[0]->suspension.has_value());
    EXPECT_EQ(all[0]->suspension->by_uid, all[0]->owner_uid);
    EXPECT_EQ(all[0]->suspension->by_name, "games");
    EXPECT_FALSE(all[0]->suspension->by_administrator);
    EXPECT_EQ(all[0]->suspension->why, "w");
    EXPECT_EQ(all[0]->suspension->since, absl::InfinitePast());
    ASSERT_TRUE(all[1]->suspension.has_value());
    EXPECT_TRUE(all[1]->suspension->by_administrator);
    EXPECT_EQ(all[1]->suspension->by_name, "");
    EXPECT_TRUE(all[1]->label == Identifying("a label"));
    // Its one generation named the pinned patient; where nothing is pinned nobody knows.
    EXPECT_TRUE(all[0]->newest().patient == Identifying("pat-1"));
    EXPECT_TRUE(all[0]->newest().fhir_user == all[0]->fhir_user);
    EXPECT_TRUE(all[1]->newest().patient.empty());
    for (const RegistrationStore::Snapshot& one : all) {
      EXPECT_EQ(one->newest().state, GenerationState::kActive);
      EXPECT_FALSE(one->newest().key.blob.empty());
      EXPECT_EQ(one->newest().last_refusal_at, absl::InfinitePast());
      EXPECT_EQ(one->newest().ended_at, absl::InfinitePast());
      EXPECT_EQ(one->newest().access_for, absl::ZeroDuration());
      EXPECT_TRUE(one->earlier_lifetimes.empty());
    }
  }
}

TEST_F(SqliteSchema, NewAndMigratedDatabases_HaveTheSameTables) {
  const auto tables = [](const std::string& file) {
    return SqliteConnection::Open(file)
        ->QueryText(
            "SELECT group_concat(m.name || '.' || c.name || ' ' || c.type || c.[notnull], x'0a')"
            " FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'")
        .value();
  };
  const TempDir fresh;
  ASSERT_TRUE(OpenStore(fresh.path()).ok());
  PutFixtureOf010();
  ASSERT_TRUE(OpenStore(dir_.path()).ok());
  EXPECT_EQ(tables(fresh / kDatabaseFile), tables(database_));
}

TEST_F(SqliteSchema, MigrationFails_TheOldDatabaseStaysAndServes) {
  MakeDatabase();
  const Migration broken[] = {kToNext[0], {kNext + 1, "UPDATE no_such_table SET x = 1"}};
  EXPECT_FALSE(Open(kNext + 1, broken).ok());
  absl::StatusOr<SqliteConnection> db = Open();
  ASSERT_TRUE(db.ok()) << db.status();
  EXPECT_EQ(db->QueryInt("SELECT schema_version FROM meta").value(), kSchemaVersion);
  EXPECT_EQ(db->QueryInt("SELECT count(*) FROM registrations").value(), 1);
  EXPECT_FALSE(db->QueryInt("SELECT count(note) FROM registrations").ok());
}

TEST_F(SqliteSchema, TooOldToMigrate_IsRefusedUntouched) {
  MakeDatabase();
  const Migration late[] = {{kNext + 1, "SELECT 1"}};
  const std::string before = ReadFile(database_);
  EXPECT_EQ(ReasonOf(Open(kNext + 1, late).status()), Reason::kStoreUnavailable);
  EXPECT_TRUE(ReadFile(database_) == before);
}

TEST_F(SqliteSchema, LeftoverOfAKilledStart_IsNoHindrance) {
  WriteFile(database_ + ".new", "half made");
  // The log of that one: were it read into the next new file, that would be damaged.
  WriteFile(database_ + ".new-wal", "half made");
  WriteFile(database_ + ".scratch", "half read");
  EXPECT_TRUE(OpenStore(dir_.path()).ok());
  EXPECT_EQ(FilesIn(dir_.path()), (std::vector<std::string>{"instance", "lock", "smartkeyd.db"}));
}

TEST_F(SqliteSchema, ReadableForOthers_IsClosedToThem) {
  MakeDatabase();
  chmod(database_.c_str(), 0644);
  ASSERT_TRUE(Open().ok());
  struct stat status = {};
  ASSERT_EQ(stat(database_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace smartkey
