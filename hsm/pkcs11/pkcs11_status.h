// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "base/error.h"

namespace smartkey {

// The one place where return values of PKCS#11 modules (PKCS#11 v2.40 Base Specification, section
// 5.1) are read. Pure functions.

// What may make the same operation succeed; a stronger remedy is a larger value. Never done for an
// authorization that was refused.
enum class Pkcs11Recovery {
  kNone,        // nothing: the answer stands
  kRetry,       // the same again, a little later
  kNewSession,  // this session, or handles got before, are void: a new one, and find the key again
  kLogInAgain,  // the token was away or forgot us: new sessions, log in, find the key again
  kReopen,      // the module has to be finalized and initialized anew
};

struct Pkcs11CodeRow {
  CK_RV code;
  absl::string_view name;     // "CKR_DEVICE_ERROR"
  absl::string_view meaning;  // lower case, for messages
  Reason reason;
  Pkcs11Recovery recovery;
};

// All rows, in no order that matters.
absl::Span<const Pkcs11CodeRow> AllPkcs11Codes();

// The row of a code. For codes that are in no row, vendors' own among them: kHardwareDegraded and
// kReopen, since nobody can say what they leave behind.
const Pkcs11CodeRow& RowForPkcs11Code(CK_RV code);

// OK for CKR_OK, else the row's reason with "pkcs11 OPERATION: MEANING (CKR_NAME 0x...)". The code
// stays readable in the status, through Annotate and WithRemedy as well.
absl::Status Pkcs11Status(CK_RV code, absl::string_view operation);

// The code that a status was made from; absent for all other statuses.
absl::optional<CK_RV> Pkcs11CodeOf(const absl::Status& status);

// The row's recovery; kNone for OK, and for statuses made from no code.
Pkcs11Recovery RecoveryOf(const absl::Status& status);

}  // namespace smartkey
