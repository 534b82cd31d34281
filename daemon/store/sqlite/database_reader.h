// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/model/registration.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/state_directory.h"

namespace smartkey {

// Reads databases that are not in use: copies, and damaged ones. Nothing of them is changed: what
// is read is a scratch file of the same bytes, which is brought to this version first.

inline constexpr char kScratchFile[] = "smartkeyd.db.scratch";

struct DatabaseContents {
  DatabaseMeta meta;
  std::vector<Registration> registrations;
  bool complete = true;  // false: something could not be read
};

// All of a sound database, named by its path below the state directory. Errors: kStoreUnavailable,
// SaysDamaged() included; kStoreTooNew.
absl::StatusOr<DatabaseContents> ReadContents(const StateDirectory& directory,
                                              const std::string& file);

// Of a damaged one what can be read. Errors: kStoreUnavailable if that is nothing; kStoreTooNew.
absl::StatusOr<DatabaseContents> SalvageContents(const StateDirectory& directory,
                                                 const std::string& file);

}  // namespace smartkey
