// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "daemon/model/registration.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/state_directory.h"

namespace smartkey {

inline constexpr char kDatabaseFile[] = "smartkeyd.db";

// The database of `directory`, ready for use:
// - where there never was one, it is made under another name and renamed, with a new instance id,
//   so that a file with the database's name is never half-made;
// - one that is gone, though the instance's file or a copy says that it was there, is not made
//   anew: that is damage;
// - one that is there is closed to others and checked (integrity_check);
// - an older one is copied, the copy migrated and checked, and renamed over the old one, which
//   stays among the copies (KeepBeforeUpgrade); where it cannot be kept nothing is migrated;
// - a replacement that was begun (ReplaceDatabase) is finished first.
// A kill at any moment leaves the old or the new one. A database that cannot be read is left byte
// for byte as it was.
//
// Errors: kStoreUnavailable (with what to do; SaysDamaged() tells damage from the rest),
// kStoreTooNew.
absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory, absl::Time now);

// The same for another version and its migrations. `migrations` ascend by one and end with
// `version`; they may begin later than with 2, databases older than that are refused.
absl::StatusOr<SqliteConnection> OpenDatabase(const StateDirectory& directory, absl::Time now,
                                              int version, absl::Span<const Migration> migrations);

// The id of the installation as it stands beside the database, for when that cannot be read. Empty:
// not known.
std::string InstanceBeside(const StateDirectory& directory);

// Puts a new database with these registrations in the place of the present one, which need not be
// sound nor there. It must not be open. Everything that is there, copies included, stays in a
// folder of its own below "set-aside", whose whole path is returned; empty if there was nothing. A
// kill before the new database is complete leaves everything as it was; after that OpenDatabase
// finishes the replacement. `meta`: what the new one says of itself; an empty instance id is made
// anew.
absl::StatusOr<std::string> ReplaceDatabase(const StateDirectory& directory,
                                            const std::vector<Registration>& registrations,
                                            const DatabaseMeta& meta, absl::Time now);

// Everything that was ever set aside and is still there, oldest first: the folders, with their
// whole path.
std::vector<std::string> ListSetAside(const StateDirectory& directory);

}  // namespace smartkey
