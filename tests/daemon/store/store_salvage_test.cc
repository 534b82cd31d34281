// SPDX-License-Identifier: Apache-2.0
// What a recovery must not mistake for an empty database, and what is left of one that was set
// aside.
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/daemon/store/file_size_limit.h"
#include "tests/daemon/store/store_fixture.h"

namespace smartkey {
namespace {

class StoreSalvageTest : public StoreFixture {
 protected:
  static constexpr int kRegistrations = 60;

  // A copy with one registration, and a database with many, of which only an index is damaged.
  void MakeMuchAndDamageAnIndex() {
    Start();
    ASSERT_TRUE(Insert("r0").ok());
    Maintain();
    for (int i = 1; i < kRegistrations; ++i) ASSERT_TRUE(Insert(absl::StrCat("r", i)).ok());
    Stop();
    OverwritePage(RootPageOf("generations_by_client"));
    Start();
    ASSERT_EQ(ReasonOf(store().availability()), Reason::kStoreUnavailable);
  }
};

TEST_F(StoreSalvageTest, NoRoomToLookAtTheDatabase_IsSaidAndNotTakenForAnEmptyOne) {
  MakeMuchAndDamageAnIndex();
  {
    const FileSizeLimit full(std::filesystem::file_size(database_) - 4096);
    const absl::StatusOr<StoreRecovery> recovery = Recover();
    EXPECT_EQ(ReasonOf(recovery.status()), Reason::kStoreUnavailable);
    EXPECT_NE(recovery.status().message().find("nothing was changed"), std::string::npos);
    EXPECT_NE(RemedyOf(recovery.status()).find("free space"), std::string::npos);
  }
  const absl::StatusOr<StoreRecovery> recovery = Recover();
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(recovery->from_damaged_file, kRegistrations);
  EXPECT_EQ(store().List().size(), static_cast<size_t>(kRegistrations));
}

TEST_F(StoreSalvageTest, DamagedAndSetAside_WhatIsLeftOfItCanStillBeTakenUp) {
  MakeMuchAndDamageAnIndex();
  const absl::StatusOr<std::string> folder = Reset();
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(store().List().empty());
  const absl::StatusOr<StoreRecovery> recovery = Recover(absl::StrCat(*folder, "/", kDatabaseFile));
  ASSERT_TRUE(recovery.ok()) << recovery.status();
  EXPECT_EQ(store().List().size(), static_cast<size_t>(kRegistrations));
}

}  // namespace
}  // namespace smartkey
