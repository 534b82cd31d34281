// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_status.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace smartkey {
namespace {

using enum Pkcs11Recovery;

constexpr absl::string_view kCodeUrl = "smartkey/pkcs11-code";

#define ROW(code, meaning, reason, recovery) \
  { code, #code, meaning, Reason::reason, recovery }

constexpr Pkcs11CodeRow kRows[] = {
    // The PIN. None of these is ever tried again by itself.
    ROW(CKR_PIN_INCORRECT, "wrong pin", kPinRejected, kNone),
    ROW(CKR_PIN_INVALID, "pin with characters the token does not take", kPinRejected, kNone),
    ROW(CKR_PIN_LEN_RANGE, "pin too short or too long", kPinRejected, kNone),
    ROW(CKR_PIN_EXPIRED, "pin expired", kPinRejected, kNone),
    ROW(CKR_PIN_LOCKED, "pin locked", kPinLocked, kNone),
    ROW(CKR_USER_PIN_NOT_INITIALIZED, "the token has no user pin yet", kPinMissing, kNone),
    ROW(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "another user is logged in", kHardwareError, kNone),
    ROW(CKR_USER_TOO_MANY_TYPES, "another user is logged in", kHardwareError, kNone),
    ROW(CKR_USER_TYPE_INVALID, "the token knows no such user", kHardwareError, kNone),

    // Sessions and handles that are void.
    ROW(CKR_SESSION_HANDLE_INVALID, "session lost", kHardwareDegraded, kNewSession),
    ROW(CKR_SESSION_CLOSED, "session closed", kHardwareDegraded, kNewSession),
    ROW(CKR_OPERATION_ACTIVE, "an operation is under way in the session", kHardwareDegraded,
        kNewSession),
    ROW(CKR_OPERATION_NOT_INITIALIZED, "the session forgot the operation", kHardwareDegraded,
        kNewSession),
    ROW(CKR_KEY_HANDLE_INVALID, "key handle void", kHardwareDegraded, kNewSession),
    ROW(CKR_OBJECT_HANDLE_INVALID, "object handle void", kHardwareDegraded, kNewSession),
    ROW(CKR_KEY_CHANGED, "the key changed", kHardwareDegraded, kNewSession),

    // The token forgot us, or was away.
    ROW(CKR_USER_NOT_LOGGED_IN, "not logged in", kHardwareDegraded, kLogInAgain),
    ROW(CKR_DEVICE_REMOVED, "token removed", kHardwareAbsent, kLogInAgain),
    ROW(CKR_TOKEN_NOT_PRESENT, "token not present", kHardwareAbsent, kLogInAgain),
    ROW(CKR_TOKEN_NOT_RECOGNIZED, "token not recognized", kHardwareAbsent, kLogInAgain),
    ROW(CKR_SLOT_ID_INVALID, "slot gone", kHardwareAbsent, kLogInAgain),
    ROW(CKR_DEVICE_ERROR, "device error", kHardwareDegraded, kLogInAgain),

    // The module as a whole.
    ROW(CKR_GENERAL_ERROR, "general error", kHardwareDegraded, kReopen),
    ROW(CKR_FUNCTION_FAILED, "function failed", kHardwareDegraded, kReopen),
    ROW(CKR_CRYPTOKI_NOT_INITIALIZED, "module not initialized", kHardwareDegraded, kReopen),
    ROW(CKR_MUTEX_BAD, "module's lock broken", kHardwareDegraded, kReopen),
    ROW(CKR_MUTEX_NOT_LOCKED, "module's lock broken", kHardwareDegraded, kReopen),
    ROW(CKR_LIBRARY_LOAD_FAILED, "the module misses a library", kHardwareAbsent, kReopen),
    ROW(CKR_FIPS_SELF_TEST_FAILED, "self test failed", kHardwareDegraded, kReopen),
    ROW(CKR_HOST_MEMORY, "out of memory", kHardwareDegraded, kReopen),
    ROW(CKR_NEED_TO_CREATE_THREADS, "the module needs threads", kHardwareDegraded, kReopen),
    ROW(CKR_CANT_LOCK, "the module cannot lock", kHardwareDegraded, kReopen),
    ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, "module initialized already", kHardwareDegraded, kReopen),

    // Not now.
    ROW(CKR_SESSION_COUNT, "all sessions of the token are taken", kHardwareBusy, kRetry),
    ROW(CKR_FUNCTION_CANCELED, "function cancelled", kHardwareBusy, kRetry),
    ROW(CKR_CANCEL, "function cancelled", kHardwareBusy, kRetry),
    ROW(CKR_FUNCTION_REJECTED, "function rejected", kHardwareError, kNone),

    // No room, or not allowed.
    ROW(CKR_DEVICE_MEMORY, "token full", kHardwareFull, kNone),
    ROW(CKR_TOKEN_WRITE_PROTECTED, "token write protected", kHardwareError, kNone),
    ROW(CKR_SESSION_READ_ONLY, "session read only", kHardwareError, kNone),
    ROW(CKR_SESSION_READ_ONLY_EXISTS, "a read-only session exists", kHardwareError, kNone),
    ROW(CKR_SESSION_READ_WRITE_SO_EXISTS, "the security officer is logged in", kHardwareBusy,
        kNone),
    ROW(CKR_SESSION_EXISTS, "a session exists", kHardwareError, kNone),
    ROW(CKR_SESSION_PARALLEL_NOT_SUPPORTED, "no such sessions", kHardwareError, kNone),
    ROW(CKR_ACTION_PROHIBITED, "prohibited", kHardwareError, kNone),

    // The token cannot do it.
    ROW(CKR_MECHANISM_INVALID, "mechanism not supported", kAlgorithmUnsupported, kNone),
    ROW(CKR_MECHANISM_PARAM_INVALID, "mechanism parameter not supported", kAlgorithmUnsupported,
        kNone),
    ROW(CKR_CURVE_NOT_SUPPORTED, "curve not supported", kAlgorithmUnsupported, kNone),
    ROW(CKR_DOMAIN_PARAMS_INVALID, "curve not supported", kAlgorithmUnsupported, kNone),
    ROW(CKR_KEY_SIZE_RANGE, "key size not supported", kAlgorithmUnsupported, kNone),
    ROW(CKR_FUNCTION_NOT_SUPPORTED, "function not supported", kAlgorithmUnsupported, kNone),
    ROW(CKR_KEY_TYPE_INCONSISTENT, "the key does not fit the mechanism", kKeyDamaged, kNone),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key may not do this", kKeyDamaged, kNone),
    ROW(CKR_PUBLIC_KEY_INVALID, "public key invalid", kKeyDamaged, kNone),

    // What we asked for.
    ROW(CKR_ARGUMENTS_BAD, "bad arguments", kHardwareError, kNone),
    ROW(CKR_DATA_INVALID, "data invalid", kHardwareError, kNone),
    ROW(CKR_DATA_LEN_RANGE, "data of the wrong length", kHardwareError, kNone),
    ROW(CKR_BUFFER_TOO_SMALL, "buffer too small", kHardwareError, kNone),
    ROW(CKR_ATTRIBUTE_READ_ONLY, "attribute read only", kHardwareError, kNone),
    ROW(CKR_ATTRIBUTE_SENSITIVE, "attribute sensitive", kHardwareError, kNone),
    ROW(CKR_ATTRIBUTE_TYPE_INVALID, "attribute not known", kHardwareError, kNone),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID, "attribute value not allowed", kHardwareError, kNone),
    ROW(CKR_TEMPLATE_INCOMPLETE, "attributes missing", kHardwareError, kNone),
    ROW(CKR_TEMPLATE_INCONSISTENT, "attributes do not fit together", kHardwareError, kNone),
    ROW(CKR_RANDOM_NO_RNG, "the token has no random numbers", kHardwareError, kNone),
};

#undef ROW

constexpr Pkcs11CodeRow kOther = {CKR_VENDOR_DEFINED, "unknown", "unknown error",
                                  Reason::kHardwareDegraded, kReopen};

}  // namespace

absl::Span<const Pkcs11CodeRow> AllPkcs11Codes() {
  return kRows;
}

const Pkcs11CodeRow& RowForPkcs11Code(CK_RV code) {
  for (const Pkcs11CodeRow& row : kRows) {
    if (row.code == code) return row;
  }
  return kOther;
}

absl::Status Pkcs11Status(CK_RV code, absl::string_view operation) {
  if (code == CKR_OK) return absl::OkStatus();
  const Pkcs11CodeRow& row = RowForPkcs11Code(code);
  absl::Status status = MakeError(row.reason, absl::StrFormat("pkcs11 %s: %s (%s 0x%x)", operation,
                                                              row.meaning, row.name, code));
  status.SetPayload(kCodeUrl, absl::Cord(absl::StrCat(code)));
  return status;
}

absl::optional<CK_RV> Pkcs11CodeOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kCodeUrl);
  CK_RV code = CKR_OK;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &code)) {
    return absl::nullopt;
  }
  return code;
}

Pkcs11Recovery RecoveryOf(const absl::Status& status) {
  const absl::optional<CK_RV> code = Pkcs11CodeOf(status);
  return code.has_value() ? RowForPkcs11Code(*code).recovery : kNone;
}

}  // namespace smartkey
