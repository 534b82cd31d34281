// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "hsm/tpm/tpm_key_template.h"
#include "hsm/tpm/tpm_parents.h"
#include "hsm/tpm/tpm_status.h"
#include "tests/support/swtpm.h"

namespace smartkey {

inline TPM2B_AUTH Auth(absl::string_view text) {
  TPM2B_AUTH auth = {};
  auth.size = static_cast<UINT16>(text.size());
  std::copy(text.begin(), text.end(), auth.buffer);
  return auth;
}

// The RSA one that many machines have: its Name is never that of our transient parent.
inline TPM2B_PUBLIC RsaStorageRoot() {
  TPM2B_PUBLIC area = StorageRootTemplate();
  area.publicArea.type = TPM2_ALG_RSA;
  area.publicArea.unique = {};
  TPMS_RSA_PARMS& rsa = area.publicArea.parameters.rsaDetail;
  rsa = {};
  rsa.symmetric.algorithm = TPM2_ALG_AES;
  rsa.symmetric.keyBits.aes = 128;
  rsa.symmetric.mode.aes = TPM2_ALG_CFB;
  rsa.scheme.scheme = TPM2_ALG_NULL;
  rsa.keyBits = 2048;
  return area;
}

// A test with a real TPM (swtpm) of its own, and what other programs can do to that. Suites derive
// from it.
class TpmFixture : public testing::Test {
 protected:
  static constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;

  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
    ASSERT_TRUE(tpm.ok()) << tpm.status();
    tpm_ = *std::move(tpm);
  }

  std::unique_ptr<TpmKeyProvider> NewProvider(const std::string& machine_id = "machine") {
    return std::make_unique<TpmKeyProvider>(
        TpmKeyProvider::Options{.tcti = tpm_->tcti(), .machine_id = machine_id});
  }
  std::unique_ptr<TpmKeyProvider> Opened(const std::string& machine_id = "machine") {
    std::unique_ptr<TpmKeyProvider> provider = NewProvider(machine_id);
    const auto capabilities = provider->Open();
    EXPECT_TRUE(capabilities.ok()) << capabilities.status();
    return provider;
  }
  CreatedKey MadeBy(TpmKeyProvider& provider) {
    absl::StatusOr<CreatedKey> key = provider.CreateKey(kEs256, "label");
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() ? *key : CreatedKey();
  }
  absl::Status Signs(TpmKeyProvider& provider, const CreatedKey& key) {
    absl::StatusOr<std::string> signature =
        provider.Sign(key.reference, key.public_key, kEs256, "message");
    if (!signature.ok()) return signature.status();
    EXPECT_TRUE(VerifySignature(key.public_key, kEs256, "message", *signature));
    return absl::OkStatus();
  }

  // The TPM as another program sees it.
  std::unique_ptr<EsysContext> Raw() {
    absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(tpm_->tcti());
    EXPECT_TRUE(context.ok()) << context.status();
    return *std::move(context);
  }
  UINT32 Handles(TPM2_HANDLE first) {
    absl::StatusOr<TPML_HANDLE> handles = Raw()->ListHandles(first);
    EXPECT_TRUE(handles.ok()) << handles.status();
    return handles->count;
  }
  static ESYS_TR MakePrimary(EsysContext& raw, const TPM2B_PUBLIC& area,
                             absl::string_view auth = "") {
    TPM2B_SENSITIVE_CREATE sensitive = {};
    sensitive.sensitive.userAuth = Auth(auth);
    const TPM2B_DATA outside = {};
    const TPML_PCR_SELECTION pcrs = {};
    ESYS_TR handle = ESYS_TR_NONE;
    EXPECT_EQ(Esys_CreatePrimary(raw.get(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &sensitive, &area, &outside, &pcrs, &handle, nullptr,
                                 nullptr, nullptr, nullptr),
              TSS2_RC_SUCCESS);
    return handle;
  }
  // Puts a primary key where storage root keys are kept, as an administrator or systemd does.
  void Provision(const TPM2B_PUBLIC& area, absl::string_view auth = "") {
    std::unique_ptr<EsysContext> raw = Raw();
    const EsysObject primary = EsysObject::Transient(*raw, MakePrimary(*raw, area, auth));
    ESYS_TR persistent = ESYS_TR_NONE;
    ASSERT_EQ(Esys_EvictControl(raw->get(), ESYS_TR_RH_OWNER, primary.get(), ESYS_TR_PASSWORD,
                                ESYS_TR_NONE, ESYS_TR_NONE, kStorageRootHandle, &persistent),
              TSS2_RC_SUCCESS);
    Esys_TR_Close(raw->get(), &persistent);
  }
  void Unprovision() {
    std::unique_ptr<EsysContext> raw = Raw();
    ESYS_TR persistent = ESYS_TR_NONE;
    ASSERT_EQ(Esys_TR_FromTPMPublic(raw->get(), kStorageRootHandle, ESYS_TR_NONE, ESYS_TR_NONE,
                                    ESYS_TR_NONE, &persistent),
              TSS2_RC_SUCCESS);
    ESYS_TR gone = ESYS_TR_NONE;
    ASSERT_EQ(Esys_EvictControl(raw->get(), ESYS_TR_RH_OWNER, persistent, ESYS_TR_PASSWORD,
                                ESYS_TR_NONE, ESYS_TR_NONE, kStorageRootHandle, &gone),
              TSS2_RC_SUCCESS);
  }
  void SetHierarchyAuth(ESYS_TR hierarchy, absl::string_view auth) {
    std::unique_ptr<EsysContext> raw = Raw();
    const TPM2B_AUTH value = Auth(auth);
    ASSERT_EQ(Esys_HierarchyChangeAuth(raw->get(), hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                       ESYS_TR_NONE, &value),
              TSS2_RC_SUCCESS);
  }
  void Clear() {
    std::unique_ptr<EsysContext> raw = Raw();
    ASSERT_EQ(
        Esys_Clear(raw->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE),
        TSS2_RC_SUCCESS);
  }

  // Fails with an object of another program's until the TPM's dictionary attack protection locks.
  static constexpr absl::Duration kForgivenAfter = absl::Seconds(4321);
  void LockOut() {
    std::unique_ptr<EsysContext> raw = Raw();
    ASSERT_EQ(Esys_DictionaryAttackParameters(raw->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
                                              ESYS_TR_NONE, ESYS_TR_NONE, /*newMaxTries=*/1,
                                              /*newRecoveryTime=*/4321, /*lockoutRecovery=*/3600),
              TSS2_RC_SUCCESS);
    TPM2B_PUBLIC protected_key = SigningKeyTemplate(kEs256);
    protected_key.publicArea.objectAttributes &= ~TPMA_OBJECT_NODA;
    const EsysObject object =
        EsysObject::Transient(*raw, MakePrimary(*raw, protected_key, "password"));
    const TPM2B_AUTH wrong = Auth("wrong");
    ASSERT_EQ(Esys_TR_SetAuth(raw->get(), object.get(), &wrong), TSS2_RC_SUCCESS);
    TPM2B_DIGEST digest = {.size = 32};
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL};
    const TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
    TSS2_RC rc = TSS2_RC_SUCCESS;
    for (int i = 0; i < 3 && ReasonOf(TpmStatus(rc, "sign")) != Reason::kTpmLockout; ++i) {
      TPMT_SIGNATURE* signature = nullptr;
      rc = Esys_Sign(raw->get(), object.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                     &digest, &scheme, &ticket, &signature);
      Esys_Free(signature);
    }
    ASSERT_EQ(ReasonOf(TpmStatus(rc, "sign")), Reason::kTpmLockout);
  }

  static TpmParentKind ParentOf(const CreatedKey& key) {
    return ParseTpmKeyBlob(key.reference.blob).value().parent_kind;
  }

  std::unique_ptr<Swtpm> tpm_;
};

}  // namespace smartkey
