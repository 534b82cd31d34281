// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/daily_copies.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/sqlite/database_reader.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

constexpr char kFolder[] = "copies";
constexpr absl::string_view kEnd = ".db";
constexpr size_t kKept = 3;
constexpr absl::Duration kEvery = absl::Hours(24);

// What copies are called: the time when one was made, between `begin` and kEnd.
struct Naming {
  absl::string_view begin;
  const char* time_format;
  absl::string_view time_pattern;  // 0: a digit
};
constexpr Naming kDaily = {"smartkeyd-", "%E4Y%m%d", "00000000"};
constexpr Naming kBeforeUpgrade = {"before-upgrade-", "%E4Y%m%d-%H%M%S", "00000000-000000"};

std::string NameAt(const Naming& naming, absl::Time time) {
  return absl::StrCat(kFolder, "/", naming.begin,
                      absl::FormatTime(naming.time_format, time, absl::UTCTimeZone()), kEnd);
}

// Empty: it is not called so.
absl::string_view TimeInName(const Naming& naming, absl::string_view file) {
  absl::string_view text = file.substr(file.rfind('/') + 1);
  if (!absl::ConsumePrefix(&text, naming.begin) || !absl::ConsumeSuffix(&text, kEnd)) return "";
  const bool fits = std::equal(
      text.begin(), text.end(), naming.time_pattern.begin(), naming.time_pattern.end(),
      [](char c, char pattern) { return pattern == '0' ? absl::ascii_isdigit(c) : c == pattern; });
  return fits ? text : "";
}

// Newest first.
std::vector<std::string> ListNamed(const StateDirectory& directory, const Naming& naming) {
  std::vector<std::string> files;
  for (const std::string& name : directory.List(kFolder)) {
    const std::string file = absl::StrCat(kFolder, "/", name);
    if (!TimeInName(naming, name).empty() && directory.IsFile(file)) files.push_back(file);
  }
  std::reverse(files.begin(), files.end());
  return files;
}

// A new copy must be the first of the list also where the clock was in the future once.
std::string NameFor(const StateDirectory& directory, absl::Time now) {
  const std::string today = NameAt(kDaily, now);
  const std::vector<std::string> files = ListNamed(directory, kDaily);
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

// Makes a copy complete under another name, and gives it its own.
absl::Status PutCopy(const StateDirectory& directory, SqliteConnection& db,
                     const std::string& name) {
  absl::Status status = CopyInto(directory, db, kNewCopyFile);
  // What a purge that was killed left beside the copy of this name would be read into the new one.
  if (status.ok()) status = directory.RemoveLogsOf(name);
  if (status.ok()) status = directory.Replace(kNewCopyFile, name);
  // It takes the space that is missing.
  if (!status.ok()) directory.RemoveDatabase(kNewCopyFile).IgnoreError();
  return status;
}

absl::Status RemoveAllBut(const StateDirectory& directory, size_t kept,
                          const std::vector<std::string>& files) {
  for (size_t i = kept; i < files.size(); ++i) {
    if (absl::Status removed = directory.RemoveDatabase(files[i]); !removed.ok()) return removed;
  }
  return absl::OkStatus();
}

// The way back over an upgrade is as long as the copies of the days reach.
absl::Status RemoveOldBeforeUpgrade(const StateDirectory& directory) {
  const std::vector<std::string> daily = ListNamed(directory, kDaily);
  if (daily.size() < kKept) return absl::OkStatus();
  const std::string oldest(TimeInName(kDaily, daily.back()));
  const std::vector<std::string> files = ListNamed(directory, kBeforeUpgrade);
  const auto older = std::find_if(files.begin(), files.end(), [&](const std::string& file) {
    return TimeInName(kBeforeUpgrade, file).substr(0, oldest.size()) < oldest;
  });
  return RemoveAllBut(directory, static_cast<size_t>(older - files.begin()), files);
}

// `db`: the same file, open.
absl::StatusOr<std::vector<Registration>> ReadCopied(const StateDirectory& directory,
                                                     const std::string& file, SqliteConnection& db,
                                                     int version) {
  if (version == kSchemaVersion) return ReadRegistrations(db);
  absl::StatusOr<DatabaseContents> contents = ReadContents(directory, file);
  if (!contents.ok()) return contents.status();
  return std::move(contents->registrations);
}

// The tables of an older version have no place for what this one knows: what they all have is that
// registrations and shares can go.
absl::Status PurgeOlder(SqliteConnection& db, const Registration& copied,
                        const Registration& current) {
  Registration with_shares = copied;
  with_shares.shares = current.shares;
  if (LosesAKey(copied, current) || LosesARight(with_shares, current)) {
    return DeleteRegistration(db, copied.id);
  }
  for (const Share& share : copied.shares) {
    with_shares.shares = {share};
    if (!LosesARight(with_shares, current)) continue;
    absl::StatusOr<SqliteStatement> statement = db.Prepare("DELETE FROM shares WHERE id = ?");
    if (!statement.ok()) return statement.status();
    statement->BindText(share.id);
    if (absl::Status status = statement->Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// `holds_deleted`: whether it has a registration or key that is to be gone; true while not known.
absl::Status PurgeCopy(const StateDirectory& directory, const std::string& file,
                       absl::FunctionRef<RegistrationStore::Snapshot(absl::string_view id)> find,
                       bool& holds_deleted) {
  holds_deleted = true;
  absl::StatusOr<SqliteConnection> db = OpenSound(directory, file);
  if (!db.ok()) return db.status();
  const absl::StatusOr<int> version = ReadVersion(*db);
  if (!version.ok()) return version.status();
  const absl::StatusOr<std::vector<Registration>> contents =
      ReadCopied(directory, file, *db, *version);
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
      status = *version == kSchemaVersion ? WriteRegistration(*db, *current)
                                          : PurgeOlder(*db, copied, *current);
    }
    if (!status.ok()) return status;
  }
  return transaction.Commit();
}

}  // namespace

std::vector<std::string> ListCopyFiles(const StateDirectory& directory) {
  std::vector<std::string> files = ListNamed(directory, kDaily);
  std::vector<std::string> before = ListNamed(directory, kBeforeUpgrade);
  std::move(before.begin(), before.end(), std::back_inserter(files));
  return files;
}

bool IsBeforeUpgrade(absl::string_view file) {
  return !TimeInName(kBeforeUpgrade, file).empty();
}

StoreCopy DescribeCopy(const std::string& file, absl::Time copied_at) {
  StoreCopy copy{file, copied_at};
  const absl::string_view text = TimeInName(kBeforeUpgrade, file);
  if (text.empty()) return copy;
  // What stands in it is when the last copy of a day was made of it.
  std::string ignored;
  if (!absl::ParseTime(kBeforeUpgrade.time_format, text, absl::UTCTimeZone(), &copy.made_at,
                       &ignored)) {
    copy.made_at = absl::InfinitePast();
  }
  return copy;
}

std::vector<StoreCopy> ListCopies(const StateDirectory& directory) {
  std::vector<StoreCopy> copies;
  for (const std::string& file : ListCopyFiles(directory)) {
    absl::Time copied_at = absl::InfinitePast();
    absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(directory.PathOf(file));
    if (db.ok()) {
      const absl::StatusOr<int64_t> millis = db->QueryInt("SELECT ifnull(copied_at, 0) FROM meta");
      if (millis.ok() && *millis > 0) copied_at = absl::FromUnixMillis(*millis);
    }
    copies.push_back(DescribeCopy(file, copied_at));
  }
  return copies;
}

bool CopyIsDue(const std::vector<StoreCopy>& copies, absl::Time now) {
  absl::optional<absl::Time> daily, upgraded;  // of the newest
  for (const StoreCopy& copy : copies) {
    absl::optional<absl::Time>& newest = TimeInName(kDaily, copy.file).empty() ? upgraded : daily;
    if (!newest.has_value()) newest = copy.made_at;
  }
  // A time in the future: the clock was wrong then, or is now.
  if (!daily.has_value() || *daily > now || now - *daily >= kEvery) return true;
  return upgraded.has_value() && *upgraded > *daily && *upgraded <= now;
}

absl::Status MakeCopy(const StateDirectory& directory, const std::string& database,
                      SqliteConnection& db, absl::Time now) {
  // `db` has pages in memory, which may be sound where the disk is not.
  if (absl::Status status = OpenSound(directory, database).status(); !status.ok()) return status;
  if (absl::Status status = directory.MakeFolder(kFolder); !status.ok()) return status;
  if (absl::Status status = WriteCopiedAt(db, now); !status.ok()) return status;
  absl::Status status = PutCopy(directory, db, NameFor(directory, now));
  if (status.ok()) status = RemoveAllBut(directory, kKept, ListNamed(directory, kDaily));
  if (status.ok()) status = RemoveOldBeforeUpgrade(directory);
  return status;
}

absl::StatusOr<std::string> KeepBeforeUpgrade(const StateDirectory& directory, SqliteConnection& db,
                                              absl::Time now) {
  if (absl::Status status = directory.MakeFolder(kFolder); !status.ok()) return status;
  std::string name = NameAt(kBeforeUpgrade, now);
  absl::Status status = PutCopy(directory, db, name);
  // An upgrade that is killed again and again must not fill the disk.
  if (status.ok()) {
    status = RemoveAllBut(directory, kKept, ListNamed(directory, kBeforeUpgrade));
  }
  if (!status.ok()) return status;
  return name;
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
