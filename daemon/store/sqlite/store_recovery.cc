// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/store_recovery.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/sqlite/daily_copies.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/database_reader.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

struct ReadCopy {
  StoreCopy copy;
  DatabaseContents contents;
};

// Not what the file holds was at fault, but the disk or the memory to look at it: what is in it is
// not known, and must not be passed over for something older.
bool CouldNotLook(const absl::Status& status) {
  return !SaysDamaged(status) && ReasonOf(status) != Reason::kStoreTooNew;
}

absl::Status WhileLooking(const absl::Status& status, absl::string_view at) {
  return WithRemedy(
      Annotate(status, absl::StrCat(at, " could not be looked at, and nothing was changed")),
      "free space on the disk of the state directory, or mend it, and try again; where its "
      "contents "
      "are given up, 'smartkeyctl store recover --from COPY' takes a copy alone");
}

// Those of the days come first, newest first, and before them one of before an upgrade that is
// newer than they all: the copy that is due after an upgrade may have found no room.
std::vector<std::string> CopiesByAge(const StateDirectory& directory) {
  std::vector<StoreCopy> copies = ListCopies(directory);
  const auto upgraded = std::find_if(
      copies.begin(), copies.end(), [](const StoreCopy& one) { return IsBeforeUpgrade(one.file); });
  if (std::all_of(copies.begin(), upgraded, [&](const StoreCopy& one) {
        return upgraded != copies.end() && one.made_at < upgraded->made_at;
      })) {
    std::rotate(copies.begin(), upgraded, upgraded == copies.end() ? upgraded : upgraded + 1);
  }
  std::vector<std::string> files;
  for (StoreCopy& copy : copies) files.push_back(std::move(copy.file));
  return files;
}

absl::StatusOr<absl::optional<ReadCopy>> FindNewestGoodCopy(const StateDirectory& directory) {
  for (const std::string& file : CopiesByAge(directory)) {
    absl::StatusOr<DatabaseContents> contents = ReadContents(directory, file);
    if (contents.ok()) {
      StoreCopy copy = DescribeCopy(file, contents->meta.copied_at);
      return absl::optional<ReadCopy>(ReadCopy{std::move(copy), *std::move(contents)});
    }
    if (CouldNotLook(contents.status())) return WhileLooking(contents.status(), "a copy");
    Log(LogLevel::kWarning, "a copy of the database cannot be read",
        {{"error", contents.status().message()}});
  }
  return absl::optional<ReadCopy>();
}

// Puts together what fits together: the rules that every store has, so that no two of them have one
// name or one client_id.
class Gathering {
 public:
  // False if the registration breaks a rule together with those that are there already.
  bool Add(Registration registration) {
    CutTimesToMilliseconds(registration);
    if (!index_.CheckInsert(registration).ok()) return false;
    index_.Put(std::make_shared<const Registration>(std::move(registration)));
    return true;
  }
  std::vector<Registration> Take() const {
    std::vector<Registration> all;
    for (const RegistrationIndex::Snapshot& one : index_.List()) all.push_back(*one);
    return all;
  }

 private:
  RegistrationIndex index_;
};

std::map<std::string, Registration> ById(std::vector<Registration> registrations) {
  std::map<std::string, Registration> by_id;
  for (Registration& one : registrations) by_id.emplace(one.id, std::move(one));
  return by_id;
}

RecoveredContents Gather(DatabaseContents file, DatabaseContents copy) {
  RecoveredContents result;
  result.meta = file.meta;
  if (result.meta.instance_id.empty()) result.meta = copy.meta;
  StoreRecovery& recovery = result.recovery;
  recovery.incomplete = !file.complete;

  Gathering gathering;
  std::map<std::string, Registration> copied = ById(std::move(copy.registrations));
  for (Registration& registration : file.registrations) {
    const auto older = copied.find(registration.id);
    if (older != copied.end() && older->second.newest().number > registration.newest().number) {
      continue;
    }
    const std::string id = registration.id;
    if (gathering.Add(std::move(registration))) {
      ++recovery.from_damaged_file;
      copied.erase(id);
    } else {
      recovery.incomplete = true;
    }
  }
  for (auto& [id, registration] : copied) {
    if (gathering.Add(std::move(registration))) {
      ++recovery.from_copy;
    } else {
      recovery.incomplete = true;
    }
  }
  result.registrations = gathering.Take();
  return result;
}

// As a path below the state directory; empty if it cannot be one.
std::string PathBelow(const StateDirectory& directory, const std::string& copy) {
  std::string file(absl::StripPrefix(copy, directory.PathOf("")));
  if (!absl::StrContains(file, '/')) file = absl::StrCat("copies/", file);
  for (const absl::string_view part : absl::StrSplit(file, '/')) {
    if (part.empty() || part == "." || part == "..") return std::string();
  }
  return file;
}

}  // namespace

absl::StatusOr<RecoveredContents> GatherContents(const StateDirectory& directory) {
  absl::StatusOr<DatabaseContents> file = SalvageContents(directory, kDatabaseFile);
  if (!file.ok() && ReasonOf(file.status()) == Reason::kStoreTooNew) return file.status();
  // A link, or nothing at all, in its place is damage.
  if (!file.ok() && CouldNotLook(file.status()) && directory.IsFile(kDatabaseFile)) {
    return WhileLooking(file.status(), "the database");
  }
  absl::StatusOr<absl::optional<ReadCopy>> found = FindNewestGoodCopy(directory);
  if (!found.ok()) return found.status();
  absl::optional<ReadCopy>& copy = *found;
  if (!file.ok() && !copy.has_value()) {
    return WithRemedy(
        MakeError(Reason::kStoreUnavailable,
                  "there is no copy that can be read, and nothing can be read of the database"),
        "bring back the state directory from a backup of this machine, or begin anew with "
        "'smartkeyctl store reset --yes'; nothing is deleted");
  }
  DatabaseContents nothing;
  nothing.complete = false;
  RecoveredContents result =
      Gather(file.ok() ? *std::move(file) : nothing,
             copy.has_value() ? std::move(copy->contents) : std::move(nothing));
  if (copy.has_value()) result.recovery.copy = copy->copy;
  if (result.meta.instance_id.empty()) result.meta.instance_id = InstanceBeside(directory);
  return result;
}

absl::StatusOr<RecoveredContents> ContentsOfCopy(const StateDirectory& directory,
                                                 const std::string& copy) {
  const std::string file = PathBelow(directory, copy);
  if (file.empty() || !directory.IsFile(file)) {
    return WithRemedy(MakeError(Reason::kInvalidArgument, "the state directory has no such copy"),
                      "'smartkeyctl store status' lists the copies");
  }
  absl::StatusOr<DatabaseContents> contents = ReadContents(directory, file);
  // What was set aside was damaged; it is named by who wants what is left of it.
  if (SaysDamaged(contents.status())) contents = SalvageContents(directory, file);
  if (!contents.ok()) {
    return WithRemedy(contents.status(), "'smartkeyctl store status' lists the copies there are");
  }
  RecoveredContents result;
  result.recovery.incomplete = !contents->complete;
  result.meta = contents->meta;
  result.recovery.copy = DescribeCopy(file, contents->meta.copied_at);
  result.recovery.from_copy = static_cast<int>(contents->registrations.size());
  result.registrations = std::move(contents->registrations);
  return result;
}

}  // namespace smartkey
