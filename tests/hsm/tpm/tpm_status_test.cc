// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_status.h"

#include <tss2/tss2_tpm2_types.h>

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

struct Expected {
  TSS2_RC code;
  Reason reason;
  TpmRecovery recovery;
};

// Every row again, by hand: a change of the table has to be meant.
constexpr Expected kExpected[] = {
    {TPM2_RC_LOCKOUT, Reason::kTpmLockout, TpmRecovery::kNone},
    {TPM2_RC_AUTH_FAIL, Reason::kTpmOwnerAuthRequired, TpmRecovery::kNone},
    {TPM2_RC_BAD_AUTH, Reason::kTpmOwnerAuthRequired, TpmRecovery::kNone},
    {TPM2_RC_HIERARCHY, Reason::kTpmOwnerAuthRequired, TpmRecovery::kNone},
    {TPM2_RC_AUTH_UNAVAILABLE, Reason::kTpmOwnerAuthRequired, TpmRecovery::kNone},
    {TPM2_RC_ASYMMETRIC, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_HASH, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_KEY_SIZE, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_SCHEME, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_CURVE, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_COMMAND_CODE, Reason::kAlgorithmUnsupported, TpmRecovery::kNone},
    {TPM2_RC_INTEGRITY, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_BINDING, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_SENSITIVE, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_SIZE, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_INSUFFICIENT, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_TYPE, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_KEY, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_ECC_POINT, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_ATTRIBUTES, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_NV_SPACE, Reason::kHardwareFull, TpmRecovery::kNone},
    {TPM2_RC_NV_DEFINED, Reason::kTpmHandleTaken, TpmRecovery::kNone},
    {TPM2_RC_HANDLE, Reason::kHardwareDegraded, TpmRecovery::kReload},
    {TPM2_RC_REFERENCE_H0, Reason::kHardwareDegraded, TpmRecovery::kReload},
    {TPM2_RC_REFERENCE_S0, Reason::kHardwareDegraded, TpmRecovery::kReload},
    {TPM2_RC_OBJECT_MEMORY, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_OBJECT_HANDLES, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_SESSION_MEMORY, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_SESSION_HANDLES, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_MEMORY, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_CONTEXT_GAP, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_TOO_MANY_CONTEXTS, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_RETRY, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_YIELDED, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_TESTING, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_CANCELED, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_NV_RATE, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_NV_UNAVAILABLE, Reason::kHardwareBusy, TpmRecovery::kRetry},
    {TPM2_RC_FAILURE, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_INITIALIZE, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_REBOOT, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_UPGRADE, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_NEEDS_TEST, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TPM2_RC_VALUE, Reason::kHardwareError, TpmRecovery::kNone},
    {TPM2_RC_DISABLED, Reason::kHardwareError, TpmRecovery::kNone},
    {TSS2_TCTI_RC_IO_ERROR, Reason::kHardwareAbsent, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_NO_CONNECTION, Reason::kHardwareAbsent, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_NOT_SUPPORTED, Reason::kHardwareAbsent, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_BAD_VALUE, Reason::kHardwareAbsent, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_NOT_PERMITTED, Reason::kHardwareAbsent, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_TRY_AGAIN, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_MALFORMED_RESPONSE, Reason::kHardwareDegraded, TpmRecovery::kReopen},
    {TSS2_TCTI_RC_BAD_SEQUENCE, Reason::kHardwareDegraded, TpmRecovery::kReopen},
};

TEST(TpmStatus, EachRow_IsAsExpected) {
  EXPECT_EQ(AllTpmCodes().size(), std::size(kExpected));
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(RowForTpmCode(expected.code).meaning);
    EXPECT_EQ(RowForTpmCode(expected.code).code, expected.code);
    EXPECT_EQ(RowForTpmCode(expected.code).recovery, expected.recovery);
    const absl::Status status = TpmStatus(expected.code, "sign");
    EXPECT_EQ(ReasonOf(status), expected.reason);
    EXPECT_THAT(std::string(status.message()), testing::StartsWith("tpm sign: "));
  }
}

TEST(TpmStatus, Rows_AreDistinctAndNormalized) {
  std::set<TSS2_RC> seen;
  for (const TpmCodeRow& row : AllTpmCodes()) {
    EXPECT_TRUE(seen.insert(row.code).second) << row.meaning;
    EXPECT_EQ(NormalizedTpmCode(row.code), row.code) << row.meaning;
  }
}

TEST(TpmStatus, Success_IsOk) {
  EXPECT_TRUE(TpmStatus(TSS2_RC_SUCCESS, "sign").ok());
}

TEST(TpmStatus, MessageHasTheCodeAsItCame) {
  EXPECT_EQ(TpmStatus(TPM2_RC_OBJECT_MEMORY, "sign").message(),
            "tpm sign: object memory exhausted (0x902)");
  EXPECT_EQ(TpmStatus(TPM2_RC_INTEGRITY + TPM2_RC_P + TPM2_RC_1, "load").message(),
            "tpm load: integrity check failed (0x1df)");
}

TEST(NormalizedTpmCode, WhichHandleOrParameter_DoesNotMatter) {
  for (const TSS2_RC where : {TPM2_RC_P + TPM2_RC_1, TPM2_RC_P + TPM2_RC_F, TPM2_RC_H + TPM2_RC_2,
                              TPM2_RC_S + TPM2_RC_1}) {
    EXPECT_EQ(NormalizedTpmCode(TPM2_RC_BAD_AUTH + where), TPM2_RC_BAD_AUTH);
  }
  EXPECT_EQ(NormalizedTpmCode(TPM2_RC_REFERENCE_H6), TPM2_RC_REFERENCE_H0);
  EXPECT_EQ(NormalizedTpmCode(TPM2_RC_REFERENCE_S6), TPM2_RC_REFERENCE_S0);
}

TEST(NormalizedTpmCode, ResourceManagersSpeakForTheTpm) {
  EXPECT_EQ(NormalizedTpmCode(TSS2_RESMGR_TPM_RC_LAYER | TPM2_RC_OBJECT_MEMORY),
            TPM2_RC_OBJECT_MEMORY);
  // The kernel's, whose layer is the other one.
  EXPECT_EQ(NormalizedTpmCode(TSS2_RESMGR_RC_LAYER | TPM2_RC_COMMAND_CODE), TPM2_RC_COMMAND_CODE);
}

TEST(NormalizedTpmCode, LibrariesAreAlike) {
  for (const TSS2_RC layer : {TSS2_ESAPI_RC_LAYER, TSS2_SYS_RC_LAYER, TSS2_TCTI_RC_LAYER}) {
    EXPECT_EQ(NormalizedTpmCode(layer | TSS2_BASE_RC_IO_ERROR), TSS2_TCTI_RC_IO_ERROR);
  }
}

TEST(TpmStatus, UnknownCodes_AreErrorsOfTheRightSide) {
  EXPECT_EQ(ReasonOf(TpmStatus(TPM2_RC_PCR, "sign")), Reason::kHardwareError);
  EXPECT_EQ(RowForTpmCode(TPM2_RC_PCR).recovery, TpmRecovery::kNone);
  EXPECT_EQ(ReasonOf(TpmStatus(TSS2_ESAPI_RC_LAYER | TSS2_BASE_RC_BAD_TR, "sign")),
            Reason::kHardwareDegraded);
}

TEST(TpmStatus, ParameterErrors_AreToldFromHandleErrors) {
  EXPECT_TRUE(IsParameterError(TPM2_RC_INTEGRITY + TPM2_RC_P + TPM2_RC_1));
  EXPECT_FALSE(IsParameterError(TPM2_RC_HANDLE + TPM2_RC_H + TPM2_RC_1));
  EXPECT_FALSE(IsParameterError(TPM2_RC_FAILURE));
  EXPECT_FALSE(IsParameterError(TSS2_TCTI_RC_LAYER | 0xC1));
}

}  // namespace
}  // namespace smartkey
