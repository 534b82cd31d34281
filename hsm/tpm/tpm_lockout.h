// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_common.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "hsm/tpm/esys_context.h"

namespace smartkey {

// The dictionary attack protection (TPM 2.0 Part 1 section 19.11), as the TPM says it. It guards
// objects that are not noDA, and the lockout hierarchy. Ours and their parents are noDA, and the
// owner hierarchy is not guarded: in lockout our keys work. Others' failures and unclean power-offs
// raise the counter.
struct TpmLockout {
  uint32_t failures = 0;      // TPM2_PT_LOCKOUT_COUNTER
  uint32_t max_failures = 0;  // TPM2_PT_MAX_AUTH_FAIL
  absl::Duration interval;    // TPM2_PT_LOCKOUT_INTERVAL: until one failure is forgiven; 0: never
  absl::Duration recovery;    // TPM2_PT_LOCKOUT_RECOVERY: of the lockout hierarchy; 0: at a reboot
};

absl::StatusOr<TpmLockout> ReadLockout(EsysContext& context);

// TpmStatus(code, operation), and for a lockout with the time after which another try makes sense,
// where the TPM says it.
absl::Status TpmFailure(EsysContext& context, TSS2_RC code, absl::string_view operation);

}  // namespace smartkey
