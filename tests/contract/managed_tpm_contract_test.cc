// SPDX-License-Identifier: Apache-2.0
// The key provider contract on a real swtpm behind a resource manager (tpm2-abrmd), which others
// use at the same time; and what only a TPM that is shared can show.
#include <memory>
#include <string>
#include <vector>

#include "tests/contract/tpm_hardware.h"
#include "tests/support/tpm_resource_manager.h"

namespace smartkey {
namespace {

// GLib keeps its connection to a bus for as long as the process lives: one manager for all tests of
// a process, with another TPM behind it each time.
struct ManagedTpm {
  std::unique_ptr<Swtpm> tpm;
  std::unique_ptr<TpmResourceManager> manager;  // ends before its TPM
};

class ManagedTpmUnderTest : public TpmUnderTest {
 public:
  explicit ManagedTpmUnderTest(ManagedTpm& parts)
      : TpmUnderTest(*parts.tpm, TpmResourceManager::tcti()), parts_(parts) {}

  absl::Status Reboot() override {
    Unplug();
    return PlugIn();
  }
  void Unplug() override {
    parts_.manager->Kill();
    TpmUnderTest::Unplug();
  }
  absl::Status PlugIn() override {
    const absl::Status status = TpmUnderTest::PlugIn();
    return status.ok() ? parts_.manager->Restart() : status;
  }
  absl::Status Replace() override {
    parts_.manager->Kill();
    const absl::Status status = TpmUnderTest::Replace();
    return status.ok() ? parts_.manager->Restart() : status;
  }

 private:
  ManagedTpm& parts_;
};

absl::StatusOr<std::unique_ptr<ManagedTpm>> StartManagedTpm() {
  auto parts = std::make_unique<ManagedTpm>();
  absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
  if (!tpm.ok()) return tpm.status();
  parts->tpm = *std::move(tpm);
  absl::StatusOr<std::unique_ptr<TpmResourceManager>> manager =
      TpmResourceManager::Start(parts->tpm->tcti());
  if (!manager.ok()) return manager.status();
  parts->manager = *std::move(manager);
  parts->manager->UseInThisProcess();
  return parts;
}

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeManagedTpm() {
  static absl::StatusOr<std::unique_ptr<ManagedTpm>> parts = StartManagedTpm();
  if (!parts.ok()) return parts.status();
  auto hardware = std::make_unique<ManagedTpmUnderTest>(**parts);
  if (absl::Status status = hardware->Replace(); !status.ok()) return status;
  return hardware;
}

INSTANTIATE_TEST_SUITE_P(Tpm, KeyProviderContract,
                         testing::Values(HardwareMaker{"SwtpmBehindAbrmd", &MakeManagedTpm}),
                         NameOfHardware);

class SharedTpm : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<HardwareUnderTest>> hardware = MakeManagedTpm();
    ASSERT_TRUE(hardware.ok()) << hardware.status();
    hardware_ = *std::move(hardware);
  }

  static CreatedKey MadeBy(KeyProvider& provider) {
    absl::StatusOr<CreatedKey> key = provider.CreateKey(SignatureAlgorithm::kEs256, "label");
    EXPECT_TRUE(key.ok()) << key.status();
    return key.value_or(CreatedKey());
  }
  static absl::Status Signs(KeyProvider& provider, const CreatedKey& key) {
    return provider.Sign(key.reference, key.public_key, SignatureAlgorithm::kEs256, "message")
        .status();
  }

  std::unique_ptr<HardwareUnderTest> hardware_;
};

TEST_F(SharedTpm, SeveralDaemonsAtOnce_OpenAndSignInTurnWithWhatEachHasLoaded) {
  constexpr int kDaemons = 5;  // more than a TPM has slots
  std::vector<std::unique_ptr<KeyProvider>> providers;
  std::vector<CreatedKey> keys;
  for (int i = 0; i < kDaemons; ++i) {
    providers.push_back(hardware_->NewProvider("instance"));
    const absl::StatusOr<ProviderCapabilities> opened = providers.back()->Open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(opened->has_resource_manager);
    keys.push_back(MadeBy(*providers.back()));
  }
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kDaemons; ++i) {
      const absl::Status status = Signs(*providers[i], keys[i]);
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

TEST_F(SharedTpm, ObjectsAndSessionsOfAnotherProgram_AreLeftAloneByAnOpening) {
  absl::StatusOr<std::unique_ptr<EsysContext>> other =
      EsysContext::Create(TpmResourceManager::tcti());
  ASSERT_TRUE(other.ok()) << other.status();
  ESYS_TR session = ESYS_TR_NONE;
  const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
  ASSERT_EQ(
      Esys_StartAuthSession((*other)->get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                            ESYS_TR_NONE, nullptr, TPM2_SE_HMAC, &none, TPM2_ALG_SHA256, &session),
      TSS2_RC_SUCCESS);
  // An audit session goes with any command.
  ASSERT_EQ(Esys_TRSess_SetAttributes((*other)->get(), session,
                                      TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION, 0xFF),
            TSS2_RC_SUCCESS);
  std::unique_ptr<KeyProvider> provider = hardware_->NewProvider("instance");
  ASSERT_TRUE(provider->Open().ok());
  ASSERT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
  ASSERT_TRUE(provider->Open().ok());
  TPM2B_DIGEST* random = nullptr;
  EXPECT_EQ(Esys_GetRandom((*other)->get(), session, ESYS_TR_NONE, ESYS_TR_NONE, 8, &random),
            TSS2_RC_SUCCESS)
      << "the other program's session is still there";
  Esys_Free(random);
  EXPECT_EQ(Esys_FlushContext((*other)->get(), session), TSS2_RC_SUCCESS);
}

}  // namespace
}  // namespace smartkey
