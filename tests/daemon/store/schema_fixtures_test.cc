// SPDX-License-Identifier: Apache-2.0
// Databases that smartkeyds of each schema wrote are read by this one.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/error.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

constexpr char kOfVersion2[] = "unreleased/daemon_pkcs11";
constexpr char kOfVersion4[] = "unreleased/daemon";
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class SchemaFixtures : public testing::Test {
 protected:
  // `folder`: below tests/fixtures, of one hardware.
  void Put(const std::string& folder) {
    std::filesystem::copy_file(SMARTKEY_FIXTURES "/" + folder + "/state/smartkeyd.db", database_);
  }

  std::map<std::string, Registration> ReadByName() {
    std::map<std::string, Registration> found;
    const auto store = OpenStore(dir_.path());
    EXPECT_TRUE(store.ok()) << store.status();
    if (!store.ok()) return found;
    for (const RegistrationStore::Snapshot& one : (*store)->List()) {
      found.emplace(one->name.RevealIdentifying(), *one);
    }
    return found;
  }

  const TempDir dir_;
  const std::string database_ = dir_ / kDatabaseFile;
};

TEST_F(SchemaFixtures, ThePresentSchema_HasOne) {
  // Of a schema that comes after it: tests/e2e/make_fixture.py, before anything is released.
  std::map<int64_t, std::string> fixtures;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SMARTKEY_FIXTURES)) {
    if (entry.path().filename() != kDatabaseFile) continue;
    const TempDir dir;
    std::filesystem::copy_file(entry.path(), dir / kDatabaseFile);
    absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(dir / kDatabaseFile);
    ASSERT_TRUE(db.ok()) << entry.path();
    fixtures[ReadVersion(*db).value()] = entry.path().string();
  }
  for (const int version : {1, 2, kSchemaVersion}) {
    EXPECT_EQ(fixtures.count(version), 1u) << "no fixture of schema version " << version;
  }
}

TEST_F(SchemaFixtures, OfVersion4_IsReadWholeAndNotMigrated) {
  Put(kOfVersion4);
  const std::map<std::string, Registration> found = ReadByName();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "copies"));
  for (const auto& [name, one] : found) {
    EXPECT_EQ(one.newest().state, GenerationState::kActive) << name;
    EXPECT_FALSE(one.newest().key.blob.empty()) << name;
    EXPECT_EQ(one.owner_name, "games");
  }
  const Registration& shared = found.at("es384");
  ASSERT_EQ(shared.shares.size(), 2u);
  EXPECT_EQ(shared.shares[0].principal, "user:news");
  EXPECT_EQ(shared.shares[0].user_name, "news");
  EXPECT_EQ(shared.shares[0].created_by_name, "games");
  EXPECT_EQ(shared.shares[0].scopes, (std::vector<std::string>{"patient/*.rs"}));
  EXPECT_EQ(shared.shares[1].principal, "group:mail");
  EXPECT_GE(shared.shares[1].gid, 0);
  EXPECT_LT(shared.shares[1].ends_at, absl::InfiniteFuture());
  ASSERT_EQ(shared.denials.size(), 1u);
  EXPECT_EQ(shared.denials[0].user_name, "lp");
  EXPECT_GT(shared.denials[0].until, shared.denials[0].since);
  const Registration& suspended = found.at("paused");
  ASSERT_TRUE(suspended.suspension.has_value());
  EXPECT_EQ(suspended.suspension->by_name, "games");
  EXPECT_FALSE(suspended.suspension->by_administrator);
  EXPECT_EQ(suspended.suspension->why, "lost laptop");
  EXPECT_GT(suspended.suspension->since, absl::InfinitePast());
  EXPECT_TRUE(found.at("rs256").label == Identifying("a label"));
}

// No version was released with schema 3: its database is made from one of version 2, by the
// statements that made all of them.
TEST_F(SchemaFixtures, OfVersion3_IsMigratedAndReadWhole) {
  Put(kOfVersion2);
  {
    const StateDirectory directory = StateDirectory::Lock(dir_.path()).value();
    absl::StatusOr<SqliteConnection> db =
        OpenDatabase(directory, kNow, 3, ReleasedMigrations().first(2));
    ASSERT_TRUE(db.ok()) << db.status();
    ASSERT_EQ(db->QueryInt("SELECT schema_version FROM meta").value(), 3);
    ASSERT_FALSE(db->QueryInt("SELECT count(*) FROM denials").ok());
    // What its smartkeyd wrote, and none before.
    ASSERT_TRUE(db->Execute("INSERT INTO shares (id, registration_id, position, principal, uid, "
                            "gid, unit, scopes, operations, created_at, created_by, user_name, "
                            "created_by_name) SELECT 's1', id, 0, 'user:news', 9, -1, '', "
                            "'[\"patient/*.rs\"]', '[\"token\"]', 1000, owner_uid, 'news', "
                            "owner_name FROM registrations WHERE name = 'es384'; "
                            "UPDATE registrations SET shares_only = 1 WHERE name = 'es384'")
                    .ok());
  }
  std::filesystem::remove_all(dir_ / "copies");
  const std::map<std::string, Registration> found = ReadByName();
  ASSERT_EQ(found.size(), 2u);
  for (const auto& [name, one] : found) {
    EXPECT_EQ(one.newest().state, GenerationState::kActive) << name;
    EXPECT_FALSE(one.newest().key.blob.empty()) << name;
    EXPECT_EQ(one.resumed_at, absl::InfinitePast()) << name;
    EXPECT_TRUE(one.denials.empty()) << name;
  }
  EXPECT_TRUE(found.at("es384").shares_only);
  EXPECT_FALSE(found.at("rs256").shares_only);
  ASSERT_EQ(found.at("es384").shares.size(), 1u);
  const Share& share = found.at("es384").shares[0];
  EXPECT_EQ(share.user_name, "news");
  EXPECT_EQ(share.created_by_name, "games");
  EXPECT_EQ(share.made_under, "");
  EXPECT_EQ(share.ends_at, absl::InfiniteFuture());
  ASSERT_EQ(FilesIn(dir_ / "copies").size(), 1u);
  absl::StatusOr<SqliteConnection> kept =
      SqliteConnection::Open(dir_ / ("copies/" + FilesIn(dir_ / "copies")[0]));
  EXPECT_EQ(kept->QueryInt("SELECT schema_version FROM meta").value(), 3);
}

}  // namespace
}  // namespace smartkey
