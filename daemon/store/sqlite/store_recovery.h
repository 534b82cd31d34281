// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/model/registration.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/state_directory.h"
#include "daemon/store/store_maintenance.h"

namespace smartkey {

// What a new database is to be made of, and where each part of it came from. Nothing is written.
struct RecoveredContents {
  DatabaseMeta meta;
  std::vector<Registration> registrations;
  StoreRecovery recovery;  // all but set_aside
};

// Of a damaged or lost database: what can still be read of its file, which is the newest, and from
// the newest copy that is in order what is missing there. A registration that is in both comes from
// the copy only if the copy has a younger generation of it. Nobody can tell a registration that was
// lost from one that was deleted while the copies could not be purged: it is taken. Errors:
// kStoreUnavailable if nothing can be read anywhere, kStoreTooNew.
absl::StatusOr<RecoveredContents> GatherContents(const StateDirectory& directory);

// Of one copy, as it is listed: "smartkeyd-20261125.db" of the folder "copies", or any database
// below the state directory by its path, also the absolute one. Errors: kInvalidArgument if there
// is no such file; kStoreUnavailable, kStoreTooNew if it cannot be read.
absl::StatusOr<RecoveredContents> ContentsOfCopy(const StateDirectory& directory,
                                                 const std::string& copy);

}  // namespace smartkey
