// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/error.h"

namespace smartkey {

// What a result code of SQLite means here: the one place that reads them (sqlite.org/rescode.html).
// `code` may be an extended one. `doing` goes before the meaning: "opening the database". No text
// of SQLite's own is passed on, since it may quote values. Errors: kStoreUnavailable with a remedy
// for everything that lies outside the program; kInternal for constraints, misuse and unknown
// codes. OK for SQLITE_OK, SQLITE_ROW and SQLITE_DONE.
absl::Status SqliteError(int code, absl::string_view doing);

// A database whose content makes no sense though SQLite can read it, or that is gone.
// kStoreUnavailable.
absl::Status DamagedDatabase(absl::string_view what);

// Whether an error of this folder says that the database itself is at fault, and will not mend by
// itself: what DamagedDatabase() makes, and the codes of SQLite that mean the same.
bool SaysDamaged(const absl::Status& status);

}  // namespace smartkey
