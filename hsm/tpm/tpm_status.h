// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_common.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/error.h"

namespace smartkey {

// The one place where codes of the TPM (TPM 2.0 Part 2, section 6.6) and of the libraries on the
// way to it (TSS 2.0 Overview, section 3) are read. Pure functions.

// What may make the same operation succeed. Never done for an authorization that was refused.
enum class TpmRecovery {
  kNone,    // nothing: the answer stands
  kRetry,   // send the same command again, a little later
  kReload,  // what was loaded is gone (the TPM was reset): load it again
  kReopen,  // the connection or the TPM itself has to be opened anew
};

struct TpmCodeRow {
  TSS2_RC code;               // as NormalizedTpmCode gives it
  absl::string_view meaning;  // lower case, for messages
  Reason reason;
  TpmRecovery recovery;
};

// All rows, in no order that matters.
absl::Span<const TpmCodeRow> AllTpmCodes();

// Without what differs from call to call: which handle, parameter or session a TPM code complains
// of (format 1), which of the handles is not loaded, and through which resource manager it came.
// For codes of the libraries: the base code, as one of the TCTI layer.
TSS2_RC NormalizedTpmCode(TSS2_RC code);

// The row of a code. For codes that are in no row: kHardwareError and kNone for those of a TPM,
// kHardwareDegraded and kReopen for those of a library.
const TpmCodeRow& RowForTpmCode(TSS2_RC code);

// OK for success, else the row's reason with "tpm OPERATION: MEANING (0x...)", and its recovery for
// TpmRecoveryOf.
absl::Status TpmStatus(TSS2_RC code, absl::string_view operation);

// What may help after a status of TpmStatus; kNone for any other.
TpmRecovery TpmRecoveryOf(const absl::Status& status);

// True if the TPM found fault with a parameter: the bytes sent, not its own state.
bool IsParameterError(TSS2_RC code);

}  // namespace smartkey
