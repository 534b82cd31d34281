// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/model/registration.h"
#include "daemon/store/sqlite/sqlite_connection.h"

namespace smartkey {

// Registrations as rows of the tables in schema.cc. Writing belongs inside a transaction.
// Errors: as SqliteError; reading: kStoreUnavailable for values that make no sense.

// Every registration with its generations and shares.
absl::StatusOr<std::vector<Registration>> ReadRegistrations(SqliteConnection& db);

// What can be read of a damaged database, one table row at a time: registrations that have at least
// one generation left. Whether all of its generations and shares are there nobody knows.
struct SalvagedRegistrations {
  std::vector<Registration> registrations;
  bool complete = true;  // false: some row could not be read
};
SalvagedRegistrations SalvageRegistrations(SqliteConnection& db);

// Puts the registration in the place of the one with its id, if there is one.
absl::Status WriteRegistration(SqliteConnection& db, const Registration& registration);

absl::Status DeleteRegistration(SqliteConnection& db, const std::string& id);

}  // namespace smartkey
