// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_status.h"

#include <set>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

struct Expected {
  CK_RV code;
  Reason reason;
  Pkcs11Recovery recovery;
};

// Every row again, by hand: a change of the table has to be meant.
constexpr Expected kExpected[] = {
    {CKR_PIN_INCORRECT, Reason::kPinRejected, Pkcs11Recovery::kNone},
    {CKR_PIN_INVALID, Reason::kPinRejected, Pkcs11Recovery::kNone},
    {CKR_PIN_LEN_RANGE, Reason::kPinRejected, Pkcs11Recovery::kNone},
    {CKR_PIN_EXPIRED, Reason::kPinRejected, Pkcs11Recovery::kNone},
    {CKR_PIN_LOCKED, Reason::kPinLocked, Pkcs11Recovery::kNone},
    {CKR_USER_PIN_NOT_INITIALIZED, Reason::kPinMissing, Pkcs11Recovery::kNone},
    {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_USER_TOO_MANY_TYPES, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_USER_TYPE_INVALID, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_SESSION_HANDLE_INVALID, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_SESSION_CLOSED, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_OPERATION_ACTIVE, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_OPERATION_NOT_INITIALIZED, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_KEY_HANDLE_INVALID, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_OBJECT_HANDLE_INVALID, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_KEY_CHANGED, Reason::kHardwareDegraded, Pkcs11Recovery::kNewSession},
    {CKR_USER_NOT_LOGGED_IN, Reason::kHardwareDegraded, Pkcs11Recovery::kLogInAgain},
    {CKR_DEVICE_REMOVED, Reason::kHardwareAbsent, Pkcs11Recovery::kLogInAgain},
    {CKR_TOKEN_NOT_PRESENT, Reason::kHardwareAbsent, Pkcs11Recovery::kLogInAgain},
    {CKR_TOKEN_NOT_RECOGNIZED, Reason::kHardwareAbsent, Pkcs11Recovery::kLogInAgain},
    {CKR_SLOT_ID_INVALID, Reason::kHardwareAbsent, Pkcs11Recovery::kLogInAgain},
    {CKR_DEVICE_ERROR, Reason::kHardwareDegraded, Pkcs11Recovery::kLogInAgain},
    {CKR_GENERAL_ERROR, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_FUNCTION_FAILED, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_CRYPTOKI_NOT_INITIALIZED, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_MUTEX_BAD, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_MUTEX_NOT_LOCKED, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_LIBRARY_LOAD_FAILED, Reason::kHardwareAbsent, Pkcs11Recovery::kReopen},
    {CKR_FIPS_SELF_TEST_FAILED, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_HOST_MEMORY, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_NEED_TO_CREATE_THREADS, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_CANT_LOCK, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_CRYPTOKI_ALREADY_INITIALIZED, Reason::kHardwareDegraded, Pkcs11Recovery::kReopen},
    {CKR_SESSION_COUNT, Reason::kHardwareBusy, Pkcs11Recovery::kRetry},
    {CKR_FUNCTION_CANCELED, Reason::kHardwareBusy, Pkcs11Recovery::kRetry},
    {CKR_CANCEL, Reason::kHardwareBusy, Pkcs11Recovery::kRetry},
    {CKR_FUNCTION_REJECTED, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_DEVICE_MEMORY, Reason::kHardwareFull, Pkcs11Recovery::kNone},
    {CKR_TOKEN_WRITE_PROTECTED, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_SESSION_READ_ONLY, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_SESSION_READ_ONLY_EXISTS, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_SESSION_READ_WRITE_SO_EXISTS, Reason::kHardwareBusy, Pkcs11Recovery::kNone},
    {CKR_SESSION_EXISTS, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_SESSION_PARALLEL_NOT_SUPPORTED, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_ACTION_PROHIBITED, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_MECHANISM_INVALID, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_MECHANISM_PARAM_INVALID, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_CURVE_NOT_SUPPORTED, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_DOMAIN_PARAMS_INVALID, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_KEY_SIZE_RANGE, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_FUNCTION_NOT_SUPPORTED, Reason::kAlgorithmUnsupported, Pkcs11Recovery::kNone},
    {CKR_KEY_TYPE_INCONSISTENT, Reason::kKeyDamaged, Pkcs11Recovery::kNone},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, Reason::kKeyDamaged, Pkcs11Recovery::kNone},
    {CKR_PUBLIC_KEY_INVALID, Reason::kKeyDamaged, Pkcs11Recovery::kNone},
    {CKR_ARGUMENTS_BAD, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_DATA_INVALID, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_DATA_LEN_RANGE, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_BUFFER_TOO_SMALL, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_ATTRIBUTE_READ_ONLY, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_ATTRIBUTE_SENSITIVE, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_ATTRIBUTE_TYPE_INVALID, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_ATTRIBUTE_VALUE_INVALID, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_TEMPLATE_INCOMPLETE, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_TEMPLATE_INCONSISTENT, Reason::kHardwareError, Pkcs11Recovery::kNone},
    {CKR_RANDOM_NO_RNG, Reason::kHardwareError, Pkcs11Recovery::kNone},
};

TEST(Pkcs11Status, EachRow_IsAsExpected) {
  EXPECT_EQ(AllPkcs11Codes().size(), std::size(kExpected));
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(RowForPkcs11Code(expected.code).name);
    EXPECT_EQ(RowForPkcs11Code(expected.code).code, expected.code);
    EXPECT_EQ(RowForPkcs11Code(expected.code).recovery, expected.recovery);
    const absl::Status status = Pkcs11Status(expected.code, "sign");
    EXPECT_EQ(ReasonOf(status), expected.reason);
    EXPECT_EQ(RecoveryOf(status), expected.recovery);
    EXPECT_EQ(Pkcs11CodeOf(status), expected.code);
    EXPECT_THAT(std::string(status.message()), testing::StartsWith("pkcs11 sign: "));
  }
}

TEST(Pkcs11Status, Rows_AreDistinct) {
  std::set<CK_RV> codes;
  std::set<absl::string_view> names;
  for (const Pkcs11CodeRow& row : AllPkcs11Codes()) {
    EXPECT_TRUE(codes.insert(row.code).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
  }
}

TEST(Pkcs11Status, NothingThatRefusesAPin_IsTriedAgain) {
  for (const Pkcs11CodeRow& row : AllPkcs11Codes()) {
    if (row.reason == Reason::kPinRejected || row.reason == Reason::kPinLocked ||
        row.reason == Reason::kPinMissing) {
      EXPECT_EQ(row.recovery, Pkcs11Recovery::kNone) << row.name;
    }
  }
}

TEST(Pkcs11Status, Success_IsOk) {
  EXPECT_TRUE(Pkcs11Status(CKR_OK, "sign").ok());
  EXPECT_EQ(RecoveryOf(absl::OkStatus()), Pkcs11Recovery::kNone);
  EXPECT_EQ(Pkcs11CodeOf(absl::OkStatus()), absl::nullopt);
}

TEST(Pkcs11Status, MessageHasNameAndNumber) {
  EXPECT_EQ(Pkcs11Status(CKR_DEVICE_ERROR, "sign").message(),
            "pkcs11 sign: device error (CKR_DEVICE_ERROR 0x30)");
}

TEST(Pkcs11Status, UnknownAndVendorsCodes_AskForReopening) {
  for (const CK_RV code : {CK_RV{CKR_VENDOR_DEFINED | 0x17}, CK_RV{0x7FFF}}) {
    const absl::Status status = Pkcs11Status(code, "sign");
    EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded);
    EXPECT_EQ(RecoveryOf(status), Pkcs11Recovery::kReopen);
    EXPECT_EQ(Pkcs11CodeOf(status), code);
  }
  EXPECT_EQ(Pkcs11Status(CKR_VENDOR_DEFINED | 0x17, "sign").message(),
            "pkcs11 sign: unknown error (unknown 0x80000017)");
}

TEST(Pkcs11Status, CodeOutlivesContextAndIsInNoOtherStatus) {
  const absl::Status status =
      Annotate(WithRemedy(Pkcs11Status(CKR_SESSION_CLOSED, "sign"), "wait"), "signing");
  EXPECT_EQ(RecoveryOf(status), Pkcs11Recovery::kNewSession);
  EXPECT_EQ(RecoveryOf(MakeError(Reason::kKeyGone, "gone")), Pkcs11Recovery::kNone);
}

}  // namespace
}  // namespace smartkey
