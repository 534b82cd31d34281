// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/database_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/store/sqlite/daily_copies.h"
#include "daemon/store/sqlite/database_reader.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

constexpr char kInstanceFile[] = "instance";
constexpr char kNewFile[] = "smartkeyd.db.new";
// Complete, and to take the place of smartkeyd.db: whoever opens the database next sees to it.
constexpr char kNextFile[] = "smartkeyd.db.next";
constexpr char kSetAside[] = "set-aside";

enum class FileKind { kAbsent, kEmpty, kFilled };

absl::StatusOr<FileKind> LookAt(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return FileKind::kAbsent;
    return MakeError(Reason::kStoreUnavailable,
                     absl::StrCat("looking at ", path, ": ", strerror(errno)));
  }
  if (!S_ISREG(status.st_mode)) return DamagedDatabase("it is not a regular file");
  return status.st_size == 0 ? FileKind::kEmpty : FileKind::kFilled;
}

// A new database, complete and closed. `fill` runs inside the transaction that makes the tables.
absl::Status MakeFile(const StateDirectory& directory, const char* file,
                      const std::string& instance_id, absl::Span<const Migration> migrations,
                      absl::FunctionRef<absl::Status(SqliteConnection&)> fill) {
  if (absl::Status status = directory.CreatePrivateFile(file); !status.ok()) return status;
  absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(directory.PathOf(file));
  if (!db.ok()) return db.status();
  db->SetCheckpointOnClose(true);
  if (absl::Status status = db->UseLog(); !status.ok()) return status;
  SqliteTransaction transaction(*db);
  if (absl::Status status = transaction.Begin(); !status.ok()) return status;
  if (absl::Status status = CreateTables(*db, instance_id, migrations); !status.ok()) return status;
  if (absl::Status status = fill(*db); !status.ok()) return status;
  if (absl::Status status = transaction.Commit(); !status.ok()) return status;
  return db->TruncateLog();
}

absl::Status CheckThatNoneIsMissing(const StateDirectory& directory) {
  // A log without its database would be read into the new one.
  absl::StatusOr<FileKind> log = LookAt(directory.PathOf(absl::StrCat(kDatabaseFile, "-wal")));
  if (!log.ok()) return log.status();
  if (*log == FileKind::kFilled) return DamagedDatabase("its file is gone while its log is there");
  if (directory.Exists(kInstanceFile) || !ListCopyFiles(directory).empty()) {
    return DamagedDatabase("its file is gone");
  }
  return absl::OkStatus();
}

absl::Status MakeFirstDatabase(const StateDirectory& directory,
                               absl::Span<const Migration> migrations) {
  if (absl::Status status = CheckThatNoneIsMissing(directory); !status.ok()) return status;
  absl::Status status = MakeFile(directory, kNewFile, "", migrations,
                                 [](SqliteConnection&) { return absl::OkStatus(); });
  if (status.ok()) status = directory.Replace(kNewFile, kDatabaseFile);
  if (!status.ok()) return status;
  Log(LogLevel::kInfo, "made a new database", {{"file", directory.PathOf(kDatabaseFile)}});
  return absl::OkStatus();
}

absl::StatusOr<SqliteConnection> OpenChecked(const std::string& path) {
  absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(path);
  if (!db.ok()) return db.status();
  if (absl::Status status = CheckIntegrity(*db); !status.ok()) return status;
  return db;
}

absl::Status MigrateCopy(const std::string& path, int from,
                         absl::Span<const Migration> migrations) {
  absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(path);
  if (!db.ok()) return db.status();
  db->SetCheckpointOnClose(true);
  if (absl::Status status = db->UseLog(); !status.ok()) return status;
  SqliteTransaction transaction(*db);
  if (absl::Status status = transaction.Begin(); !status.ok()) return status;
  if (absl::Status status = ApplyMigrations(*db, from, migrations); !status.ok()) return status;
  if (absl::Status status = CheckIntegrity(*db); !status.ok()) return status;
  if (absl::Status status = transaction.Commit(); !status.ok()) return status;
  return db->TruncateLog();
}

// Makes the migrated database under another name, and gives the copy of the old one. Takes the
// connection, since the old database must be closed, its log folded in, before its file is
// replaced: the log would be read into the new one.
absl::StatusOr<std::string> PrepareMigration(const StateDirectory& directory, SqliteConnection old,
                                             int from, absl::Span<const Migration> migrations,
                                             absl::Time now) {
  if (absl::Status status = directory.CreatePrivateFile(kNewFile); !status.ok()) return status;
  absl::StatusOr<SqliteStatement> copy = old.Prepare("VACUUM INTO ?");
  if (!copy.ok()) return copy.status();
  copy->BindText(directory.PathOf(kNewFile));
  if (absl::Status status = copy->Run(); !status.ok()) return status;
  if (absl::Status status = MigrateCopy(directory.PathOf(kNewFile), from, migrations);
      !status.ok()) {
    return Annotate(status, "migrating a copy of the database");
  }
  // Last, so that what fails before does not leave one copy after the other.
  if (absl::Status status = old.TruncateLog(); !status.ok()) return status;
  absl::StatusOr<std::string> kept = KeepBeforeUpgrade(directory, old, now);
  if (!kept.ok()) return Annotate(kept.status(), "keeping the database of before the upgrade");
  return kept;
}

absl::Status Migrate(const StateDirectory& directory, SqliteConnection old, int from, int to,
                     absl::Span<const Migration> migrations, absl::Time now) {
  if (migrations.empty() || migrations.front().version > from + 1) {
    return WithRemedy(MakeError(Reason::kStoreUnavailable,
                                absl::StrCat("the database has schema version ", from,
                                             ", which this smartkeyd cannot migrate to ", to)),
                      "start a smartkeyd of a version in between once");
  }
  const absl::StatusOr<std::string> kept =
      PrepareMigration(directory, std::move(old), from, migrations, now);
  if (!kept.ok()) return kept.status();
  absl::Status status = directory.RemoveLogsOf(kDatabaseFile);
  if (status.ok()) status = directory.Replace(kNewFile, kDatabaseFile);
  if (!status.ok()) return Annotate(status, "putting the migrated database in place");
  Log(LogLevel::kInfo, "migrated the database",
      {{"from", from}, {"to", to}, {"before", directory.PathOf(*kept)}});
  return absl::OkStatus();
}

// Whoever comes between two of these steps does them all again.
absl::Status FinishReplacement(const StateDirectory& directory) {
  if (!directory.Exists(kNextFile)) return absl::OkStatus();
  if (absl::Status status = directory.RemoveLogsOf(kDatabaseFile); !status.ok()) return status;
  for (const std::string& copy : ListCopyFiles(directory)) {
    if (absl::Status status = directory.RemoveDatabase(copy); !status.ok()) return status;
  }
  return directory.Replace(kNextFile, kDatabaseFile);
}

// Half-made files of a process that was killed. They hold what the database holds.
void RemoveLeftovers(const StateDirectory& directory) {
  for (const char* file : {kNewFile, kScratchFile, kNewCopyFile}) {
    directory.RemoveDatabase(file).IgnoreError();  // whoever makes the next one removes it
  }
}

// Notes beside the database that it is there, so that its loss can be told from a first start.
void RememberInstance(const StateDirectory& directory, SqliteConnection& db) {
  absl::StatusOr<std::string> instance = db.QueryText("SELECT instance_id FROM meta");
  if (!instance.ok() || *instance == InstanceBeside(directory)) return;
  const absl::Status status = directory.WriteText(kInstanceFile, absl::StrCat(*instance, "\n"));
  if (status.ok()) return;
  Log(LogLevel::kWarning, "cannot note that there is a database", {{"error", status.message()}});
}

absl::StatusOr<std::string> MakeSetAsideFolder(const StateDirectory& directory, absl::Time now) {
  if (absl::Status status = directory.MakeFolder(kSetAside); !status.ok()) return status;
  const std::string first =
      absl::StrCat(kSetAside, "/", absl::FormatTime("%Y%m%d-%H%M%S", now, absl::UTCTimeZone()));
  std::string folder = first;
  for (int i = 2; directory.Exists(folder); ++i) folder = absl::StrCat(first, "-", i);
  if (absl::Status status = directory.MakeFolder(folder); !status.ok()) return status;
  return folder;
}

// Gives everything that is there a second name.
absl::StatusOr<std::string> SetAside(const StateDirectory& directory, absl::Time now) {
  std::vector<std::string> files;
  for (const std::string& copy : ListCopyFiles(directory)) {
    files.push_back(copy);
    files.push_back(absl::StrCat(copy, "-journal"));  // of a purge that was killed
  }
  for (const char* suffix : {"", "-wal", "-journal"}) {
    files.push_back(absl::StrCat(kDatabaseFile, suffix));
  }
  const bool any = std::any_of(files.begin(), files.end(),
                               [&](const std::string& file) { return directory.Exists(file); });
  if (!any) return std::string();
  absl::StatusOr<std::string> folder = MakeSetAsideFolder(directory, now);
  if (!folder.ok()) return folder;
  for (const std::string& file : files) {
    if (absl::Status status = directory.LinkInto(*folder, file); !status.ok()) return status;
  }
  if (absl::Status status = directory.SyncFolder(*folder); !status.ok()) return status;
  return folder;
}

}  // namespace

absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory, absl::Time now) {
  return OpenDatabase(directory, now, kSchemaVersion, ReleasedMigrations());
}

absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory, absl::Time now,
                                              int version, absl::Span<const Migration> migrations) {
  if (absl::Status status = FinishReplacement(directory); !status.ok()) {
    return Annotate(status, "finishing the replacement of the database");
  }
  RemoveLeftovers(directory);
  const std::string path = directory.PathOf(kDatabaseFile);
  absl::StatusOr<FileKind> kind = LookAt(path);
  if (!kind.ok()) return kind.status();
  // New databases are filled before they get their name, so this one lost its content.
  if (*kind == FileKind::kEmpty) return DamagedDatabase("its file is empty");
  if (*kind == FileKind::kAbsent) {
    absl::Status made = MakeFirstDatabase(directory, migrations);
    if (!made.ok()) return made;
  }
  if (absl::Status status = directory.MakePrivate(kDatabaseFile); !status.ok()) return status;

  absl::StatusOr<SqliteConnection> db = OpenChecked(path);
  if (!db.ok()) return db;
  absl::StatusOr<int> found = ReadVersion(*db);
  if (!found.ok()) return found.status();
  if (*found > version) {
    return MakeError(Reason::kStoreTooNew,
                     absl::StrCat("the database has schema version ", *found,
                                  ", this smartkeyd knows versions up to ", version));
  }
  if (*found < version) {
    db->SetCheckpointOnClose(true);
    absl::Status migrated = Migrate(directory, *std::move(db), *found, version, migrations, now);
    if (!migrated.ok()) return migrated;
    db = OpenChecked(path);
    if (!db.ok()) return db;
  }
  db->SetCheckpointOnClose(true);
  if (absl::Status status = db->UseLog(); !status.ok()) return status;
  RememberInstance(directory, *db);
  return db;
}

std::string InstanceBeside(const StateDirectory& directory) {
  return std::string(absl::StripAsciiWhitespace(directory.ReadText(kInstanceFile)));
}

absl::StatusOr<std::string> ReplaceDatabase(const StateDirectory& directory,
                                            const std::vector<Registration>& registrations,
                                            const DatabaseMeta& meta, absl::Time now) {
  absl::Status made = MakeFile(directory, kNewFile, meta.instance_id, ReleasedMigrations(),
                               [&](SqliteConnection& db) {
                                 for (const Registration& registration : registrations) {
                                   absl::Status status = WriteRegistration(db, registration);
                                   if (!status.ok()) return status;
                                 }
                                 return WriteMachineIdentity(db, meta.machine_identity);
                               });
  absl::StatusOr<std::string> folder =
      made.ok() ? SetAside(directory, now)
                : absl::StatusOr<std::string>(Annotate(made, "making a new database"));
  // From here on the new one counts.
  if (folder.ok()) {
    if (absl::Status status = directory.Replace(kNewFile, kNextFile); !status.ok()) folder = status;
  }
  if (!folder.ok()) {
    directory.RemoveDatabase(kNewFile).IgnoreError();  // it takes the space that is missing
    return folder;
  }
  if (absl::Status status = FinishReplacement(directory); !status.ok()) return status;
  if (folder->empty()) return folder;
  return directory.PathOf(*folder);
}

std::vector<std::string> ListSetAside(const StateDirectory& directory) {
  std::vector<std::string> folders;
  for (const std::string& name : directory.List(kSetAside)) {
    folders.push_back(directory.PathOf(absl::StrCat(kSetAside, "/", name)));
  }
  return folders;
}

}  // namespace smartkey
