// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_status.h"

#include <tss2/tss2_tpm2_types.h>

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"

namespace smartkey {
namespace {

using enum TpmRecovery;

constexpr absl::string_view kRecoveryPayload = "smartkey/tpm-recovery";

constexpr TpmCodeRow kRows[] = {
    // Dictionary attack protection. Our keys are noDA; only what others protect gets here.
    {TPM2_RC_LOCKOUT, "in dictionary attack lockout", Reason::kTpmLockout, kNone},

    // An authorization was refused. Our objects have an empty one, so it is the owner hierarchy's.
    {TPM2_RC_AUTH_FAIL, "authorization refused", Reason::kTpmOwnerAuthRequired, kNone},
    {TPM2_RC_BAD_AUTH, "authorization refused", Reason::kTpmOwnerAuthRequired, kNone},
    {TPM2_RC_HIERARCHY, "hierarchy is disabled", Reason::kTpmOwnerAuthRequired, kNone},
    {TPM2_RC_AUTH_UNAVAILABLE, "authorization not available", Reason::kTpmOwnerAuthRequired, kNone},

    // The TPM cannot do it.
    {TPM2_RC_ASYMMETRIC, "asymmetric algorithm not supported", Reason::kAlgorithmUnsupported,
     kNone},
    {TPM2_RC_HASH, "hash not supported", Reason::kAlgorithmUnsupported, kNone},
    {TPM2_RC_KEY_SIZE, "key size not supported", Reason::kAlgorithmUnsupported, kNone},
    {TPM2_RC_SCHEME, "signature scheme not supported", Reason::kAlgorithmUnsupported, kNone},
    {TPM2_RC_CURVE, "curve not supported", Reason::kAlgorithmUnsupported, kNone},
    {TPM2_RC_COMMAND_CODE, "command not supported", Reason::kAlgorithmUnsupported, kNone},

    // The bytes sent, or what came over of them. Of a wrapped key: TpmParents::Load.
    {TPM2_RC_INTEGRITY, "integrity check failed", Reason::kHardwareError, kNone},
    {TPM2_RC_BINDING, "public and private part do not belong together", Reason::kHardwareError,
     kNone},
    {TPM2_RC_SENSITIVE, "private part cannot be read", Reason::kHardwareError, kNone},
    {TPM2_RC_SIZE, "structure of the wrong size", Reason::kHardwareError, kNone},
    {TPM2_RC_INSUFFICIENT, "structure too short", Reason::kHardwareError, kNone},
    {TPM2_RC_TYPE, "structure of the wrong type", Reason::kHardwareError, kNone},
    {TPM2_RC_KEY, "key fields do not fit", Reason::kHardwareError, kNone},
    {TPM2_RC_ECC_POINT, "point not on the curve", Reason::kHardwareError, kNone},
    {TPM2_RC_ATTRIBUTES, "inconsistent attributes", Reason::kHardwareError, kNone},

    // What was loaded is not there any more: the TPM was reset since.
    {TPM2_RC_HANDLE, "no such handle", Reason::kHardwareDegraded, kReload},
    {TPM2_RC_REFERENCE_H0, "object not loaded", Reason::kHardwareDegraded, kReload},
    {TPM2_RC_REFERENCE_S0, "session not loaded", Reason::kHardwareDegraded, kReload},

    // Out of room. With our own use bounded, somebody else's leftovers, which opening anew flushes
    // where there is no resource manager.
    {TPM2_RC_OBJECT_MEMORY, "object memory exhausted", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_OBJECT_HANDLES, "object handles exhausted", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_SESSION_MEMORY, "session memory exhausted", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_SESSION_HANDLES, "session handles exhausted", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_MEMORY, "memory exhausted", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_CONTEXT_GAP, "session context gap", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_TOO_MANY_CONTEXTS, "context counter exhausted", Reason::kHardwareDegraded, kReopen},

    // No room for what is to stay: only making the storage root key persistent needs any.
    {TPM2_RC_NV_SPACE, "no room for another persistent object", Reason::kHardwareFull, kNone},
    {TPM2_RC_NV_DEFINED, "the handle is taken", Reason::kTpmHandleTaken, kNone},

    // Not now.
    {TPM2_RC_RETRY, "not able to start the command", Reason::kHardwareBusy, kRetry},
    {TPM2_RC_YIELDED, "command suspended", Reason::kHardwareBusy, kRetry},
    {TPM2_RC_TESTING, "self test running", Reason::kHardwareBusy, kRetry},
    {TPM2_RC_CANCELED, "command cancelled by the driver", Reason::kHardwareBusy, kRetry},
    {TPM2_RC_NV_RATE, "limiting writes to its memory", Reason::kHardwareBusy, kRetry},
    {TPM2_RC_NV_UNAVAILABLE, "memory not available now", Reason::kHardwareBusy, kRetry},

    // The TPM as a whole.
    {TPM2_RC_FAILURE, "in failure mode", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_INITIALIZE, "not started", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_REBOOT, "needs a reboot", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_UPGRADE, "in firmware upgrade", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_NEEDS_TEST, "needs a self test", Reason::kHardwareDegraded, kReopen},
    {TPM2_RC_VALUE, "value out of range", Reason::kHardwareError, kNone},
    {TPM2_RC_DISABLED, "command disabled", Reason::kHardwareError, kNone},

    // The way to the TPM.
    {TSS2_TCTI_RC_IO_ERROR, "input/output error", Reason::kHardwareAbsent, kReopen},
    {TSS2_TCTI_RC_NO_CONNECTION, "no connection", Reason::kHardwareAbsent, kReopen},
    {TSS2_TCTI_RC_NOT_SUPPORTED, "tcti not supported", Reason::kHardwareAbsent, kReopen},
    {TSS2_TCTI_RC_BAD_VALUE, "bad tcti configuration or value", Reason::kHardwareAbsent, kReopen},
    {TSS2_TCTI_RC_NOT_PERMITTED, "not permitted to open", Reason::kHardwareAbsent, kReopen},
    // Where an answer is fetched, the ESAPI asks again by itself. Where a command is sent, it is
    // out
    // of step afterwards.
    {TSS2_TCTI_RC_TRY_AGAIN, "not able to send", Reason::kHardwareDegraded, kReopen},
    {TSS2_TCTI_RC_MALFORMED_RESPONSE, "malformed response", Reason::kHardwareDegraded, kReopen},
    {TSS2_TCTI_RC_BAD_SEQUENCE, "commands out of step", Reason::kHardwareDegraded, kReopen},
};

constexpr TpmCodeRow kOtherTpmCode = {0, "unexpected answer", Reason::kHardwareError, kNone};
constexpr TpmCodeRow kOtherLibraryCode = {0, "library error", Reason::kHardwareDegraded, kReopen};

// Whether the code was made by a TPM (or by a resource manager in its name). The kernel's manager
// answers with layer 11, the specification says 12; library codes proper are all below 0x80.
bool IsFromTpm(TSS2_RC code) {
  const TSS2_RC layer = code & TSS2_RC_LAYER_MASK;
  return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER ||
         (layer == TSS2_RESMGR_RC_LAYER && (code & 0xFFFF) >= TPM2_RC_FMT1);
}

}  // namespace

absl::Span<const TpmCodeRow> AllTpmCodes() {
  return kRows;
}

TSS2_RC NormalizedTpmCode(TSS2_RC code) {
  const TSS2_RC low = code & 0xFFFF;
  if (!IsFromTpm(code)) return low == 0 ? code : TSS2_TCTI_RC_LAYER | low;
  // Part 2 section 6.6.2: in format 1, bits 11:8 are a number and bit 6 says number of what.
  if (low & TPM2_RC_FMT1) return low & (TPM2_RC_FMT1 | 0x3F);
  if (low >= TPM2_RC_REFERENCE_H0 && low <= TPM2_RC_REFERENCE_H6) return TPM2_RC_REFERENCE_H0;
  if (low >= TPM2_RC_REFERENCE_S0 && low <= TPM2_RC_REFERENCE_S6) return TPM2_RC_REFERENCE_S0;
  return low;
}

const TpmCodeRow& RowForTpmCode(TSS2_RC code) {
  const TSS2_RC normalized = NormalizedTpmCode(code);
  for (const TpmCodeRow& row : kRows) {
    if (row.code == normalized) return row;
  }
  return IsFromTpm(code) ? kOtherTpmCode : kOtherLibraryCode;
}

absl::Status TpmStatus(TSS2_RC code, absl::string_view operation) {
  if (code == TSS2_RC_SUCCESS) return absl::OkStatus();
  const TpmCodeRow& row = RowForTpmCode(code);
  absl::Status status =
      MakeError(row.reason, absl::StrFormat("tpm %s: %s (0x%x)", operation, row.meaning, code));
  status.SetPayload(kRecoveryPayload, absl::Cord(std::string(1, static_cast<char>(row.recovery))));
  return status;
}

TpmRecovery TpmRecoveryOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kRecoveryPayload);
  return payload.has_value() && !payload->empty() ? static_cast<TpmRecovery>((*payload)[0])
                                                  : TpmRecovery::kNone;
}

bool IsParameterError(TSS2_RC code) {
  return IsFromTpm(code) && (code & TPM2_RC_FMT1) != 0 && (code & TPM2_RC_P) != 0;
}

}  // namespace smartkey
