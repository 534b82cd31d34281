// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/database_reader.h"

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

// The database of a file without touching it: a byte for byte copy, brought to this version.
absl::StatusOr<SqliteConnection> OpenScratch(const StateDirectory& directory,
                                             const std::string& file) {
  if (absl::Status status = directory.CopyDatabase(file, kScratchFile); !status.ok()) return status;
  return SqliteConnection::Open(directory.PathOf(kScratchFile));
}

absl::Status BringToThisVersion(SqliteConnection& db) {
  absl::StatusOr<int> version = ReadVersion(db);
  if (!version.ok()) return version.status();
  if (*version > kSchemaVersion) {
    return MakeError(Reason::kStoreTooNew,
                     absl::StrCat("it has schema version ", *version,
                                  ", this smartkeyd knows versions up to ", kSchemaVersion));
  }
  if (*version == kSchemaVersion) return absl::OkStatus();
  SqliteTransaction transaction(db);
  if (absl::Status status = transaction.Begin(); !status.ok()) return status;
  if (absl::Status status = ApplyMigrations(db, *version, ReleasedMigrations()); !status.ok()) {
    return status;
  }
  return transaction.Commit();
}

absl::StatusOr<DatabaseContents> ReadAll(SqliteConnection& db) {
  if (absl::Status status = CheckIntegrity(db); !status.ok()) return status;
  if (absl::Status status = BringToThisVersion(db); !status.ok()) return status;
  absl::StatusOr<DatabaseMeta> meta = ReadMeta(db);
  if (!meta.ok()) return meta.status();
  absl::StatusOr<std::vector<Registration>> registrations = ReadRegistrations(db);
  if (!registrations.ok()) return registrations.status();
  return DatabaseContents{*std::move(meta), *std::move(registrations), true};
}

absl::StatusOr<DatabaseContents> ReadWhatIsLeft(SqliteConnection& db) {
  if (absl::Status status = BringToThisVersion(db); !status.ok()) return status;
  DatabaseContents read;
  if (absl::StatusOr<DatabaseMeta> meta = ReadMeta(db); meta.ok()) {
    read.meta = *std::move(meta);
  } else {
    read.complete = false;
  }
  SalvagedRegistrations salvaged = SalvageRegistrations(db);
  read.registrations = std::move(salvaged.registrations);
  read.complete = read.complete && salvaged.complete;
  if (!read.complete && read.registrations.empty()) {
    return DamagedDatabase("no registration in it can be read");
  }
  return read;
}

absl::StatusOr<DatabaseContents> ReadScratch(
    const StateDirectory& directory, const std::string& file,
    absl::FunctionRef<absl::StatusOr<DatabaseContents>(SqliteConnection&)> read) {
  absl::StatusOr<DatabaseContents> result = [&]() -> absl::StatusOr<DatabaseContents> {
    absl::StatusOr<SqliteConnection> db = OpenScratch(directory, file);
    if (!db.ok()) return db.status();
    return read(*db);
  }();
  directory.RemoveDatabase(kScratchFile).IgnoreError();  // or at the next start
  if (!result.ok()) return Annotate(result.status(), file);
  return result;
}

}  // namespace

absl::StatusOr<DatabaseContents> ReadContents(const StateDirectory& directory,
                                              const std::string& file) {
  return ReadScratch(directory, file, ReadAll);
}

absl::StatusOr<DatabaseContents> SalvageContents(const StateDirectory& directory,
                                                 const std::string& file) {
  return ReadScratch(directory, file, ReadWhatIsLeft);
}

}  // namespace smartkey
