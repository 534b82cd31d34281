// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/daily_copies.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

constexpr char kFolder[] = "copies";
constexpr absl::string_view kBegin = "smartkeyd-";
constexpr absl::string_view kEnd = ".db";
constexpr size_t kDateLength = 8;
constexpr size_t kKept = 3;

bool IsCopyName(absl::string_view name) {
  if (name.size() != kBegin.size() + kDateLength + kEnd.size()) return false;
  const absl::string_view date = name.substr(kBegin.size(), kDateLength);
  return absl::StartsWith(name, kBegin) && absl::EndsWith(name, kEnd) &&
         std::all_of(date.begin(), date.end(), absl::ascii_isdigit);
}

// A new copy must be the first of the list also where the clock was in the future once.
std::string NameFor(const StateDirectory& directory, absl::Time now) {
  const std::string today = absl::StrCat(
      kFolder, "/", kBegin, absl::FormatTime("%Y%m%d", now, absl::UTCTimeZone()), kEnd);
  const std::vector<std::string> files = ListCopyFiles(directory);
  return files.empty() ? today : std::max(today, files.front());
}

absl::StatusOr<SqliteConnection> OpenSound(const StateDirectory& directory,
                                           const std::string& file) {
  absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(directory.PathOf(file));
  if (!db.ok()) return db;
  if (absl::Status status = CheckIntegrity(*db); !status.ok()) return status;
  return db;
}

absl::Status CopyInto(const StateDirectory& directory, SqliteConnection& db, const char* file) {
  if (absl::Status status = directory.CreatePrivateFile(file); !status.ok()) return status;
  absl::StatusOr<SqliteStatement> copy = db.Prepare("VACUUM INTO ?");
  if (!copy.ok()) return copy.status();
  copy->BindText(directory.PathOf(file));
  if (absl::Status status = copy->Run(); !status.ok()) return status;
  const absl::Status sound = OpenSound(directory, file).status();
  if (sound.ok()) return sound;
  // Not a word about the database: that was in order.
  return MakeError(Reason::kStoreUnavailable,
                   absl::StrCat("the copy cannot be read back: ", sound.message()));
}

// `holds_deleted`: whether it has a registration or key that is to be gone; true while not known.
absl::Status PurgeCopy(const StateDirectory& directory, const std::string& file,
                       absl::FunctionRef<RegistrationStore::Snapshot(absl::string_view id)> find,
                       bool& holds_deleted) {
  holds_deleted = true;
  absl::StatusOr<SqliteConnection> db = OpenSound(directory, file);
  if (!db.ok()) return db.status();
  absl::StatusOr<int> version = ReadVersion(*db);
  if (!version.ok()) return version.status();
  if (*version != kSchemaVersion) return DamagedDatabase("it is a copy of another version");
  absl::StatusOr<std::vector<Registration>> contents = ReadRegistrations(*db);
  if (!contents.ok()) return contents.status();
  holds_deleted = std::any_of(contents->begin(), contents->end(), [&](const Registration& copied) {
    const RegistrationStore::Snapshot current = find(copied.id);
    return current == nullptr || LosesAKey(copied, *current);
  });
  SqliteTransaction transaction(*db);
  if (absl::Status status = transaction.Begin(); !status.ok()) return status;
  for (const Registration& copied : *contents) {
    const RegistrationStore::Snapshot current = find(copied.id);
    absl::Status status;
    if (current == nullptr) {
      status = DeleteRegistration(*db, copied.id);
    } else if (LosesAKey(copied, *current) || LosesARight(copied, *current)) {
      status = WriteRegistration(*db, *current);
    }
    if (!status.ok()) return status;
  }
  return transaction.Commit();
}

}  // namespace

std::vector<std::string> ListCopyFiles(const StateDirectory& directory) {
  std::vector<std::string> files;
  for (const std::string& name : directory.List(kFolder)) {
    const std::string file = absl::StrCat(kFolder, "/", name);
    if (IsCopyName(name) && directory.IsFile(file)) files.push_back(file);
  }
  std::reverse(files.begin(), files.end());
  return files;
}

std::vector<StoreCopy> ListCopies(const StateDirectory& directory) {
  std::vector<StoreCopy> copies;
  for (const std::string& file : ListCopyFiles(directory)) {
    StoreCopy copy{file};
    absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(directory.PathOf(file));
    if (db.ok()) {
      const absl::StatusOr<int64_t> made_at = db->QueryInt("SELECT ifnull(copied_at, 0) FROM meta");
      if (made_at.ok() && *made_at > 0) copy.made_at = absl::FromUnixMillis(*made_at);
    }
    copies.push_back(std::move(copy));
  }
  return copies;
}

absl::Status MakeCopy(const StateDirectory& directory, const std::string& database,
                      SqliteConnection& db, absl::Time now) {
  // `db` has pages in memory, which may be sound where the disk is not.
  if (absl::Status status = OpenSound(directory, database).status(); !status.ok()) return status;
  if (absl::Status status = directory.MakeFolder(kFolder); !status.ok()) return status;
  if (absl::Status status = WriteCopiedAt(db, now); !status.ok()) return status;
  absl::Status status = CopyInto(directory, db, kNewCopyFile);
  const std::string name = NameFor(directory, now);
  // What a purge that was killed left beside the copy of this name would be read into the new one.
  if (status.ok()) status = directory.RemoveLogsOf(name);
  if (status.ok()) status = directory.Replace(kNewCopyFile, name);
  if (!status.ok()) {
    directory.RemoveDatabase(kNewCopyFile).IgnoreError();  // it takes the space that is missing
    return status;
  }
  const std::vector<std::string> files = ListCopyFiles(directory);
  for (size_t i = kKept; i < files.size(); ++i) {
    if (absl::Status removed = directory.RemoveDatabase(files[i]); !removed.ok()) return removed;
  }
  return absl::OkStatus();
}

absl::Status PurgeCopies(
    const StateDirectory& directory,
    absl::FunctionRef<RegistrationStore::Snapshot(absl::string_view id)> find) {
  absl::Status result;
  for (const std::string& file : ListCopyFiles(directory)) {
    bool holds_deleted = false;
    const absl::Status purged = PurgeCopy(directory, file, find, holds_deleted);
    if (purged.ok()) continue;
    if (!holds_deleted) {
      // A right that was withdrawn is no reason to be without the copy: tried again.
      result = purged;
      continue;
    }
    Log(LogLevel::kWarning, "removing a copy of the database, since it holds deleted data",
        {{"file", directory.PathOf(file)}, {"error", purged.message()}});
    const absl::Status removed = directory.RemoveDatabase(file);
    if (!removed.ok()) result = removed;
  }
  return result;
}

}  // namespace smartkey
