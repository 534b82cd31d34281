// SPDX-License-Identifier: Apache-2.0
// When the TPM provider may say that a key is lost: with a TPM that fails at each place in turn.
#include <memory>
#include <string>

#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "tests/support/chaos_tcti.h"
#include "tests/support/swtpm.h"

namespace smartkey {
namespace {

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;

class TpmLostKeyTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
    ASSERT_TRUE(tpm.ok()) << tpm.status();
    tpm_ = *std::move(tpm);
  }

  CreatedKey MakeKey(const std::string& tcti) {
    TpmKeyProvider provider({.tcti = tcti, .machine_id = "old"});
    EXPECT_TRUE(provider.Open().ok());
    absl::StatusOr<CreatedKey> key = provider.CreateKey(kEs256, "label");
    EXPECT_TRUE(key.ok()) << key.status();
    return *std::move(key);
  }

  // A new owner seed: every parent of before is gone, the TPM is the same.
  void Clear() {
    std::unique_ptr<EsysContext> raw = EsysContext::Create(tpm_->tcti()).value();
    ASSERT_EQ(
        Esys_Clear(raw->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE),
        TSS2_RC_SUCCESS);
  }

  static Reason ReasonOfSigning(TpmKeyProvider& provider, const CreatedKey& key) {
    return ReasonOf(provider.Sign(key.reference, key.public_key, kEs256, "message").status());
  }

  std::unique_ptr<Swtpm> tpm_;
};

// "Lost" is written down for good, so nothing but a TPM in order may say it.
TEST_F(TpmLostKeyTest, TpmFailsAnywhereWhileItIsAsked_IsNotCalledAnotherLoss) {
  const CreatedKey key = MakeKey(tpm_->tcti());
  Clear();
  ChaosTcti chaos(tpm_->tcti());
  TpmKeyProvider provider({.tcti = chaos.tcti(), .machine_id = "new"});
  ASSERT_TRUE(provider.Open().ok());
  chaos.TakeCommands();
  ASSERT_EQ(ReasonOfSigning(provider, key), Reason::kKeyLostTpmCleared);
  const int commands = static_cast<int>(chaos.TakeCommands().size());
  ASSERT_GT(commands, 1);
  for (int nth = 1; nth <= commands; ++nth) {
    for (const TSS2_RC code : {TPM2_RC_OBJECT_MEMORY, TPM2_RC_FAILURE, TPM2_RC_INITIALIZE}) {
      ASSERT_TRUE(provider.Open().ok());
      chaos.Arm(nth, {.kind = TpmFault::Kind::kTpmCode, .code = code}, /*times=*/1000);
      const Reason reason = ReasonOfSigning(provider, key);
      EXPECT_TRUE(chaos.happened());
      chaos.Disarm();
      EXPECT_TRUE(reason == Reason::kKeyLostTpmCleared || reason == Reason::kHardwareDegraded)
          << ReasonName(reason) << " at command " << nth;
    }
  }
}

// A key without the TPM's identity could not be told from another machine's later on.
TEST_F(TpmLostKeyTest, TpmFailsOnceAnywhereInACreation_NoKeyLacksItsIdentity) {
  ChaosTcti chaos(tpm_->tcti());
  TpmKeyProvider provider({.tcti = chaos.tcti(), .machine_id = "old"});
  ASSERT_TRUE(provider.Open().ok());
  chaos.TakeCommands();
  ASSERT_TRUE(provider.CreateKey(kEs256, "label").ok());
  const int commands = static_cast<int>(chaos.TakeCommands().size());
  ASSERT_GT(commands, 2);
  // What flushes may fail: it takes nothing from the key.
  int refused = 0;
  for (int nth = 1; nth <= commands; ++nth) {
    ASSERT_TRUE(provider.Open().ok());
    chaos.Arm(nth, {.kind = TpmFault::Kind::kTpmCode, .code = TPM2_RC_FAILURE});
    const absl::StatusOr<CreatedKey> key = provider.CreateKey(kEs256, "label");
    chaos.Disarm();
    if (key.ok()) {
      const TpmKeyBlob blob = ParseTpmKeyBlob(key->reference.blob).value();
      EXPECT_NE(blob.tpm_identity, "") << "failing at command " << nth;
    } else {
      EXPECT_EQ(ReasonOf(key.status()), Reason::kHardwareDegraded) << key.status();
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace smartkey
