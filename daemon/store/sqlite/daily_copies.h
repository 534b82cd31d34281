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

// Copies of the database in the folder "copies" of the state directory, "smartkeyd-YYYYMMDD.db", in
// UTC, the newest three. Each is a whole database by itself, mode 0600. Files are named by their
// path below the state directory.

inline constexpr char kNewCopyFile[] = "copies/new.db";

// Newest first. A copy's name is never older than those before it, whatever the clock says.
std::vector<std::string> ListCopyFiles(const StateDirectory& directory);

// The same with the time when each was made, if that can be read.
std::vector<StoreCopy> ListCopies(const StateDirectory& directory);

// Copies the database, which is open as `db`: checks it as it is on disk, VACUUM INTO another name,
// checks the copy, fsync, rename; then removes all copies but the newest three. Errors:
// kStoreUnavailable; SaysDamaged() if it is the database that is not in order, and then no copy was
// touched.
absl::Status MakeCopy(const StateDirectory& directory, const std::string& database,
                      SqliteConnection& db, absl::Time now);

// Takes out of every copy what is not there any more: registrations that `find` does not know, and
// keys that it knows no more. A copy in which that fails is removed. Errors: kStoreUnavailable if
// something deleted is left in some file.
absl::Status PurgeCopies(const StateDirectory& directory,
                         absl::FunctionRef<RegistrationStore::Snapshot(absl::string_view id)> find);

}  // namespace smartkey
