// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "daemon/store/registration_store.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/state_directory.h"
#include "daemon/store/store_maintenance.h"

namespace smartkey {

// Copies of the database in the folder "copies" of the state directory: one a day,
// "smartkeyd-YYYYMMDD.db", the newest three; and one of before each upgrade of the schema,
// "before-upgrade-YYYYMMDD-HHMMSS.db", for the way back, which stays until three copies of later
// days are there. Times are in UTC. Each is a whole database by itself, mode 0600. Files are named
// by their path below the state directory.

inline constexpr char kNewCopyFile[] = "copies/new.db";

// The copies of the days, newest first, then those of before upgrades, newest first. The name of a
// day's copy is never older than those before it, whatever the clock says.
std::vector<std::string> ListCopyFiles(const StateDirectory& directory);
// Whether it is called as one of before an upgrade is.
bool IsBeforeUpgrade(absl::string_view file);

// The same with the time when each was made, if that can be read.
std::vector<StoreCopy> ListCopies(const StateDirectory& directory);

// A copy with the time when it was made: of a day's copy that is `copied_at`, which stands in it.
StoreCopy DescribeCopy(const std::string& file, absl::Time copied_at);

// Whether the copy of the day is to be made, where `copies` are there: a day has passed since the
// last, or that is of before an upgrade.
bool CopyIsDue(const std::vector<StoreCopy>& copies, absl::Time now);

// Copies the database, which is open as `db`: checks it as it is on disk, VACUUM INTO another name,
// checks the copy, fsync, rename; then removes all copies but the newest three, and those of before
// upgrades that are older than these. Errors: kStoreUnavailable; SaysDamaged() if it is the
// database that is not in order, and then no copy was touched.
absl::Status MakeCopy(const StateDirectory& directory, const std::string& database,
                      SqliteConnection& db, absl::Time now);

// Copies the database, which is open as `db` and about to be upgraded, in the same way, and gives
// the file. Killed in the middle, there is no such copy. Errors: kStoreUnavailable.
absl::StatusOr<std::string> KeepBeforeUpgrade(const StateDirectory& directory, SqliteConnection& db,
                                              absl::Time now);

// Takes out of every copy what is not there any more: registrations that `find` does not know, and
// keys that it knows no more; what lost a right loses it there, too. A copy of an older schema
// cannot be written with what this version knows: it loses a share that was withdrawn or changed,
// and otherwise the whole registration. A copy in which that fails is removed. Errors:
// kStoreUnavailable if something deleted is left in some file.
absl::Status PurgeCopies(const StateDirectory& directory,
                         absl::FunctionRef<RegistrationStore::Snapshot(absl::string_view id)> find);

}  // namespace smartkey
