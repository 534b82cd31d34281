// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/state_directory.h"

namespace smartkey {

// What this program reads and writes. A database with a smaller number is migrated when it is
// opened; one with a greater number is refused: an older program would lose what it does not know.
inline constexpr int kSchemaVersion = 2;

inline constexpr char kDatabaseFile[] = "smartkeyd.db";

// One step of a migration: the statements that make `version` out of version - 1. Never changed
// once released; a fixture of every released schema is opened in the tests.
struct Migration {
  int version = 0;
  const char* sql = "";
};

// The database of `directory`, ready for use:
// - absent: it is made under another name and renamed, with a new instance id, so that a file with
// the
//   database's name is never half-made;
// - there: access for others is taken away and it is checked (integrity_check);
// - older: copied, the copy migrated and checked, and renamed over the old one. A kill at any
// moment
//   leaves the old or the new one.
// A database that cannot be read is left byte for byte as it was.
//
// Errors: kStoreUnavailable (with what to do), kStoreTooNew.
absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory);

// The same for another version and its migrations. `migrations` ascend by one and end with
// `version`; they may begin later than with 2, databases older than that are refused.
absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory, int version,
                                              absl::Span<const Migration> migrations);

}  // namespace smartkey
