// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_status.h"

#include <sqlite3.h>

#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

constexpr char kDamagedPayload[] = "smartkeyd/damaged";

struct CodeRow {
  int code;  // primary result code
  absl::string_view meaning;
  absl::string_view remedy;
  bool damaged = false;
};

constexpr absl::string_view kRecover =
    "as root: 'smartkeyctl store recover' takes up what the file and its copies still hold, "
    "'smartkeyctl store reset' begins anew; both set the file aside";
constexpr absl::string_view kLook =
    "the administrator looks at the disk and the permissions of the state directory; smartkeyd "
    "writes again by itself";

constexpr CodeRow kCodes[] = {
    {SQLITE_FULL, "the disk is full",
     "free space on the disk of the state directory; smartkeyd writes again by itself"},
    {SQLITE_READONLY, "the database or its file system is read-only", kLook},
    {SQLITE_IOERR, "reading or writing the disk failed", kLook},
    {SQLITE_CANTOPEN, "the database cannot be opened", kLook},
    {SQLITE_PERM, "access to the database is denied", kLook},
    {SQLITE_AUTH, "access to the database is denied", kLook},
    {SQLITE_CORRUPT, "the database is damaged", kRecover, true},
    {SQLITE_NOTADB, "the file is not a database, or it is damaged", kRecover, true},
    {SQLITE_BUSY, "another program holds the database",
     "end the program that has smartkeyd.db open, or wait for it"},
    {SQLITE_LOCKED, "another program holds the database",
     "end the program that has smartkeyd.db open, or wait for it"},
    {SQLITE_NOMEM, "out of memory", "free memory on this machine and try again"},
};

}  // namespace

absl::Status SqliteError(int code, absl::string_view doing) {
  const int primary = code & 0xff;
  if (primary == SQLITE_OK || primary == SQLITE_ROW || primary == SQLITE_DONE) {
    return absl::OkStatus();
  }
  for (const CodeRow& row : kCodes) {
    if (row.code != primary) continue;
    absl::Status status = MakeError(Reason::kStoreUnavailable,
                                    absl::StrCat(doing, ": ", row.meaning, " (sqlite ", code, ")"));
    if (row.damaged) status.SetPayload(kDamagedPayload, absl::Cord());
    return WithRemedy(std::move(status), std::string(row.remedy));
  }
  return MakeError(Reason::kInternal, absl::StrCat(doing, ": unexpected sqlite code ", code));
}

absl::Status DamagedDatabase(absl::string_view what) {
  absl::Status status =
      MakeError(Reason::kStoreUnavailable, absl::StrCat("the database is damaged: ", what));
  status.SetPayload(kDamagedPayload, absl::Cord());
  return WithRemedy(std::move(status), std::string(kRecover));
}

bool SaysDamaged(const absl::Status& status) {
  return status.GetPayload(kDamagedPayload).has_value();
}

}  // namespace smartkey
