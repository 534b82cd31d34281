// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "daemon/store/sqlite/sqlite_connection.h"

namespace smartkey {

// The tables of the database, and how they came about. Errors: as SqliteError and DamagedDatabase.

// What this program reads and writes. A database with a smaller number is migrated when it is
// opened; one with a greater number is refused: an older program would lose what it does not know.
inline constexpr int kSchemaVersion = 4;

// One step of a migration: the statements that make `version` out of version - 1. Never changed
// once released; a fixture of every released schema is opened in the tests.
struct Migration {
  int version = 0;
  const char* sql = "";
};

// From version 1 to kSchemaVersion.
absl::Span<const Migration> ReleasedMigrations();

// Brings a database of version `from` to the last of the migrations. Belongs inside a transaction.
absl::Status ApplyMigrations(SqliteConnection& db, int from,
                             absl::Span<const Migration> migrations);

// Fills an empty database with the tables. An empty instance id: a new one is made. Belongs inside
// a transaction.
absl::Status CreateTables(SqliteConnection& db, const std::string& instance_id,
                          absl::Span<const Migration> migrations);

// That SQLite finds no fault in the file, and no row refers to one that is not there. Errors:
// DamagedDatabase.
absl::Status CheckIntegrity(SqliteConnection& db);

// Of a database of any version. Errors: DamagedDatabase if it is not smartkeyd's.
absl::StatusOr<int> ReadVersion(SqliteConnection& db);

// What the database says of itself. Of one of kSchemaVersion only.
struct DatabaseMeta {
  std::string instance_id;
  std::string machine_identity;                 // empty: not known
  absl::Time copied_at = absl::InfinitePast();  // InfinitePast: never
  bool copies_to_purge = false;                 // copies may hold what was deleted here
};
absl::StatusOr<DatabaseMeta> ReadMeta(SqliteConnection& db);
absl::Status WriteMachineIdentity(SqliteConnection& db, const std::string& identity);
absl::Status WriteCopiedAt(SqliteConnection& db, absl::Time when);
absl::Status WriteCopiesToPurge(SqliteConnection& db, bool to_purge);

}  // namespace smartkey
