// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_lockout.h"

#include "hsm/tpm/tpm_capabilities.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {

absl::StatusOr<TpmLockout> ReadLockout(EsysContext& context) {
  absl::StatusOr<TpmProperties> read = ReadProperties(context, TPM2_PT_LOCKOUT_COUNTER, 4);
  if (!read.ok()) return read.status();
  TpmProperties& properties = *read;
  return TpmLockout{
      .failures = properties[TPM2_PT_LOCKOUT_COUNTER],
      .max_failures = properties[TPM2_PT_MAX_AUTH_FAIL],
      .interval = absl::Seconds(properties[TPM2_PT_LOCKOUT_INTERVAL]),
      .recovery = absl::Seconds(properties[TPM2_PT_LOCKOUT_RECOVERY]),
  };
}

absl::Status TpmFailure(EsysContext& context, TSS2_RC code, absl::string_view operation) {
  absl::Status status = TpmStatus(code, operation);
  if (ReasonOf(status) != Reason::kTpmLockout) return status;
  const absl::StatusOr<TpmLockout> lockout = ReadLockout(context);
  if (!lockout.ok()) return status;
  // One failure forgiven ends the lockout of objects. Where none ever is, only an administrator or
  // the recovery of the lockout hierarchy helps.
  const absl::Duration wait =
      lockout->interval > absl::ZeroDuration() ? lockout->interval : lockout->recovery;
  return wait > absl::ZeroDuration() ? WithRetryAfter(status, wait) : status;
}

}  // namespace smartkey
