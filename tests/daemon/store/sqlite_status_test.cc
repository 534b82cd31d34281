// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_status.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "absl/strings/match.h"

namespace smartkey {
namespace {

TEST(SqliteStatus, SuccessCodesAreOk) {
  for (const int code : {SQLITE_OK, SQLITE_ROW, SQLITE_DONE}) {
    EXPECT_TRUE(SqliteError(code, "x").ok());
  }
}

TEST(SqliteStatus, EachCodeHasItsWordsAndARemedyThatFits) {
  const struct {
    int code;
    const char* words;
    const char* remedy;
  } rows[] = {
      {SQLITE_FULL, "disk is full", "free space"},
      {SQLITE_READONLY, "read-only", "permissions"},
      {SQLITE_READONLY_DBMOVED, "read-only", "permissions"},
      {SQLITE_IOERR, "disk failed", "look"},
      {SQLITE_IOERR_FSYNC, "disk failed", "look"},
      {SQLITE_CANTOPEN, "cannot be opened", "permissions"},
      {SQLITE_PERM, "denied", "permissions"},
      {SQLITE_AUTH, "denied", "permissions"},
      {SQLITE_CORRUPT, "damaged", "store recover"},
      {SQLITE_CORRUPT_INDEX, "damaged", "store recover"},
      {SQLITE_NOTADB, "not a database", "store recover"},
      {SQLITE_BUSY, "another program", "end the program"},
      {SQLITE_BUSY_SNAPSHOT, "another program", "end the program"},
      {SQLITE_LOCKED, "another program", "end the program"},
      {SQLITE_NOMEM, "out of memory", "memory"},
  };
  for (const auto& row : rows) {
    const absl::Status status = SqliteError(row.code, "writing");
    EXPECT_EQ(ReasonOf(status), Reason::kStoreUnavailable) << row.code;
    EXPECT_TRUE(absl::StartsWith(status.message(), "writing: ")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), row.words)) << status;
    EXPECT_TRUE(absl::StrContains(RemedyOf(status), row.remedy)) << RemedyOf(status);
    EXPECT_LT(RemedyOf(status).size(), kMaxRemedyBytes);  // not cut
  }
}

TEST(SqliteStatus, OnlyWhatDoesNotMendByItselfIsDamage) {
  for (const int code : {SQLITE_CORRUPT, SQLITE_CORRUPT_INDEX, SQLITE_NOTADB}) {
    EXPECT_TRUE(SaysDamaged(SqliteError(code, "x"))) << code;
  }
  for (const int code : {SQLITE_OK, SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN,
                         SQLITE_PERM, SQLITE_BUSY, SQLITE_NOMEM, SQLITE_ERROR}) {
    EXPECT_FALSE(SaysDamaged(SqliteError(code, "x"))) << code;
  }
  EXPECT_TRUE(SaysDamaged(Annotate(DamagedDatabase("why"), "opening")));
  EXPECT_LT(RemedyOf(DamagedDatabase("why")).size(), kMaxRemedyBytes);
}

TEST(SqliteStatus, MistakesOfTheProgramAreInternal) {
  for (const int code : {SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_CONSTRAINT_UNIQUE, SQLITE_MISUSE,
                         SQLITE_MISMATCH, 99}) {
    EXPECT_EQ(ReasonOf(SqliteError(code, "x")), Reason::kInternal) << code;
  }
}

}  // namespace
}  // namespace smartkey
