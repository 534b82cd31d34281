// SPDX-License-Identifier: Apache-2.0
// What only a TPM can do to its provider, on a real swtpm. What every provider must do is in
// tests/contract.
#include "hsm/tpm/tpm_key_provider.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/account_names.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/scheduler.h"
#include "base/user_database.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/key_worker.h"
#include "nlohmann/json.hpp"
#include "tests/hsm/tpm/tpm_fixture.h"

namespace smartkey {
namespace {

class TpmKeyProviderTest : public TpmFixture {};

TEST_F(TpmKeyProviderTest, Capabilities_NameTheChipAndPreferP384) {
  std::unique_ptr<TpmKeyProvider> provider = NewProvider();
  const absl::StatusOr<ProviderCapabilities> capabilities = provider->Open();
  ASSERT_TRUE(capabilities.ok()) << capabilities.status();
  EXPECT_EQ(capabilities->provider, "tpm");
  EXPECT_THAT(capabilities->hardware, testing::EndsWith("(TPM 2.0)"));
  EXPECT_THAT(capabilities->algorithms,
              testing::ElementsAre(SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs384,
                                   SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs256));
  EXPECT_FALSE(capabilities->has_resource_manager);
}

TEST_F(TpmKeyProviderTest, CreatedKey_HasThePublicAreaTheTpmMade) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  EXPECT_EQ(key.reference.provider, "tpm");
  const TpmKeyBlob blob = ParseTpmKeyBlob(key.reference.blob).value();
  EXPECT_EQ(key.public_area, MarshalPublic(blob.public_area).value());
  EXPECT_EQ(ToPublicKey(blob.public_area.publicArea).value(), key.public_key);
  EXPECT_EQ(blob.parent_kind, TpmParentKind::kTransientEccV1);
  EXPECT_EQ(blob.parent_name.size(), 34u);
  EXPECT_EQ(blob.tpm_identity.size(), 16u);
  EXPECT_EQ(blob.machine_identity.size(), 16u);
}

TEST_F(TpmKeyProviderTest, AtMostTheKeyUsedLast_StaysLoaded) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  const CreatedKey one = MadeBy(*provider);
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  const CreatedKey two = MadeBy(*provider);
  EXPECT_TRUE(provider->CheckKey(one.reference, one.public_key).ok());
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  for (const CreatedKey& key : {one, two, one}) {
    EXPECT_TRUE(Signs(*provider, key).ok());
    EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 1u);
    EXPECT_EQ(Handles(TPM2_LOADED_SESSION_FIRST), 0u);
  }
  EXPECT_TRUE(provider->DestroyKey(one.reference).ok());
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  EXPECT_TRUE(Signs(*provider, two).ok());
  provider.reset();
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
}

TEST_F(TpmKeyProviderTest, ResetUnderAnOpenProvider_IsNotNoticedByTheCaller) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  ASSERT_TRUE(Signs(*provider, key).ok());
  const int reloads = provider->reloads();
  ASSERT_TRUE(tpm_->Restart().ok());
  const absl::Status after_reset = Signs(*provider, key);
  EXPECT_TRUE(after_reset.ok()) << after_reset;
  EXPECT_GT(provider->reloads(), reloads) << "so that the signature is checked";
  const int later = provider->reloads();
  EXPECT_TRUE(Signs(*provider, key).ok());
  EXPECT_EQ(provider->reloads(), later);
  ASSERT_TRUE(tpm_->Restart().ok());
  EXPECT_TRUE(provider->CheckKey(key.reference, key.public_key).ok());
  ASSERT_TRUE(tpm_->Restart().ok());
  EXPECT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
}

TEST_F(TpmKeyProviderTest, KeyFlushedByAnother_IsLoadedAgain) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  ASSERT_TRUE(Signs(*provider, key).ok());
  ASSERT_TRUE(Raw()->FlushEverything().ok());
  const absl::Status status = Signs(*provider, key);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(TpmKeyProviderTest, SlotsFullOfAKilledProcess_AreFreedByOpen) {
  {
    std::unique_ptr<EsysContext> killed = Raw();
    for (int i = 0; i < 3; ++i) MakePrimary(*killed, StorageRootTemplate());
    const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    ESYS_TR session = ESYS_TR_NONE;
    ASSERT_EQ(Esys_StartAuthSession(killed->get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                    ESYS_TR_NONE, ESYS_TR_NONE, nullptr, TPM2_SE_HMAC, &none,
                                    TPM2_ALG_SHA256, &session),
              TSS2_RC_SUCCESS);
  }
  ASSERT_EQ(Handles(TPM2_TRANSIENT_FIRST), 3u);
  ASSERT_EQ(Handles(TPM2_LOADED_SESSION_FIRST), 1u);
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  EXPECT_EQ(Handles(TPM2_LOADED_SESSION_FIRST), 0u);
  EXPECT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
}

TEST_F(TpmKeyProviderTest, StorageRootKeyOfTheMachine_IsUsed) {
  Provision(RsaStorageRoot());
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  EXPECT_EQ(ParentOf(key), TpmParentKind::kPersistentSrk);
  EXPECT_TRUE(Signs(*provider, key).ok());
  EXPECT_TRUE(Signs(*Opened(), key).ok());
}

TEST_F(TpmKeyProviderTest, StorageRootKeyThatDoesNotFit_IsLeftAlone) {
  TPM2B_PUBLIC with_da = StorageRootTemplate();
  with_da.publicArea.objectAttributes &= ~TPMA_OBJECT_NODA;
  Provision(with_da);
  EXPECT_EQ(ParentOf(MadeBy(*Opened())), TpmParentKind::kTransientEccV1);
  Unprovision();
  Provision(StorageRootTemplate(), "password");
  EXPECT_EQ(ParentOf(MadeBy(*Opened())), TpmParentKind::kTransientEccV1);
  Unprovision();
  Provision(SigningKeyTemplate(kEs256));
  EXPECT_EQ(ParentOf(MadeBy(*Opened())), TpmParentKind::kTransientEccV1);
  EXPECT_EQ(Handles(TPM2_PERSISTENT_FIRST), 1u);
}

TEST_F(TpmKeyProviderTest, StorageRootKeyAppearsLater_KeysOfTheTransientParentStillLoad) {
  const CreatedKey key = MadeBy(*Opened());
  ASSERT_EQ(ParentOf(key), TpmParentKind::kTransientEccV1);
  Provision(RsaStorageRoot());
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_TRUE(Signs(*provider, key).ok());
  const CreatedKey newer = MadeBy(*provider);
  EXPECT_EQ(ParentOf(newer), TpmParentKind::kPersistentSrk);
  EXPECT_TRUE(Signs(*provider, newer).ok());
  EXPECT_TRUE(Signs(*provider, key).ok());
}

TEST_F(TpmKeyProviderTest, StorageRootKeyGoesLater_KeysLoadUnderTheSameKeyMadeAnew) {
  Provision(StorageRootTemplate());
  const CreatedKey key = MadeBy(*Opened());
  ASSERT_EQ(ParentOf(key), TpmParentKind::kPersistentSrk);
  Unprovision();
  const absl::Status status = Signs(*Opened(), key);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(TpmKeyProviderTest, AnotherStorageRootKeyInItsPlace_IsNotUsedForItsKeys) {
  Provision(RsaStorageRoot());
  const CreatedKey key = MadeBy(*Opened());
  Unprovision();
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_EQ(ReasonOf(Signs(*provider, key)), Reason::kKeyLostTpmCleared);
  Provision(StorageRootTemplate());
  EXPECT_EQ(ReasonOf(Signs(*provider, key)), Reason::kKeyLostTpmCleared);
}

TEST_F(TpmKeyProviderTest, KeyThatHasSigned_NeedsNoParentUntilItIsCheckedOrDestroyed) {
  Provision(RsaStorageRoot());
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey one = MadeBy(*provider);
  const CreatedKey two = MadeBy(*provider);
  const CreatedKey unused = MadeBy(*provider);
  for (const CreatedKey& key : {one, two}) ASSERT_TRUE(Signs(*provider, key).ok());
  Unprovision();
  for (const CreatedKey& key : {one, two, one}) EXPECT_TRUE(Signs(*provider, key).ok());
  EXPECT_FALSE(Signs(*provider, unused).ok());
  EXPECT_FALSE(provider->CheckKey(one.reference, one.public_key).ok());
  EXPECT_FALSE(Signs(*provider, one).ok());
  EXPECT_TRUE(Signs(*provider, two).ok());
  EXPECT_TRUE(provider->DestroyKey(two.reference).ok());
  EXPECT_FALSE(Signs(*provider, two).ok());
}

TEST_F(TpmKeyProviderTest, SavedKeysAfterAReset_AreLoadedFromTheirBlobs) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const std::vector<CreatedKey> keys = {MadeBy(*provider), MadeBy(*provider), MadeBy(*provider)};
  for (const CreatedKey& key : keys) ASSERT_TRUE(Signs(*provider, key).ok());
  ASSERT_TRUE(tpm_->Restart().ok());
  for (int i = 0; i < 2; ++i) {
    for (const CreatedKey& key : keys) {
      const absl::Status status = Signs(*provider, key);
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 1u);
}

TEST_F(TpmKeyProviderTest, ClearedTpm_SaysSo) {
  const CreatedKey key = MadeBy(*Opened());
  Clear();
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_EQ(ReasonOf(Signs(*provider, key)), Reason::kKeyLostTpmCleared);
  EXPECT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
}

TEST_F(TpmKeyProviderTest, ClearedUnderAnOpenProvider_SaysSo) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  const CreatedKey other = MadeBy(*provider);
  for (const CreatedKey& one : {key, other}) ASSERT_TRUE(Signs(*provider, one).ok());
  Clear();
  for (const CreatedKey& one : {key, other}) {
    EXPECT_EQ(ReasonOf(Signs(*provider, one)), Reason::kKeyLostTpmCleared);
  }
}

TEST_F(TpmKeyProviderTest, WithoutAnIdentityOfTheTpm_TheMachinesOneTells) {
  SetHierarchyAuth(ESYS_TR_RH_ENDORSEMENT, "secret");
  const CreatedKey key = MadeBy(*Opened("machine"));
  EXPECT_EQ(ParseTpmKeyBlob(key.reference.blob)->tpm_identity, "");
  ASSERT_TRUE(tpm_->Replace().ok());
  EXPECT_EQ(ReasonOf(Signs(*Opened("machine"), key)), Reason::kKeyLostTpmCleared);
  EXPECT_EQ(ReasonOf(Signs(*Opened("another"), key)), Reason::kKeyLostOtherMachine);
  EXPECT_EQ(ReasonOf(Signs(*Opened(""), key)), Reason::kKeyLostTpmCleared);
}

TEST_F(TpmKeyProviderTest, OwnerAuthorization_IsNeededOnlyWithoutAStorageRootKey) {
  const CreatedKey key = MadeBy(*Opened());
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "secret");
  const absl::StatusOr<ProviderCapabilities> refused = NewProvider()->Open();
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kTpmOwnerAuthRequired) << refused.status();

  ASSERT_TRUE(tpm_->Replace().ok());
  Provision(StorageRootTemplate());
  const CreatedKey under_root = MadeBy(*Opened());
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "secret");
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_TRUE(Signs(*provider, under_root).ok());
  EXPECT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
}

TEST_F(TpmKeyProviderTest, DictionaryAttackLockout_DoesNotTouchOurKeys) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  ASSERT_TRUE(Signs(*provider, key).ok());
  LockOut();
  EXPECT_TRUE(Signs(*provider, key).ok());
  std::unique_ptr<TpmKeyProvider> reopened = Opened();
  EXPECT_TRUE(Signs(*reopened, key).ok());
  EXPECT_TRUE(Signs(*reopened, MadeBy(*reopened)).ok());
}

TEST_F(TpmKeyProviderTest, TctiThatIsNone_IsAbsent) {
  for (const char* tcti : {"", "nonsense", "nonsense:x=y", "device:/nonexistent/tpm",
                           "swtpm:path=/nonexistent/sock"}) {
    TpmKeyProvider provider({.tcti = tcti});
    const absl::Status status = provider.Open().status();
    EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent) << tcti;
    EXPECT_TRUE(absl::StrContains(status.message(), tcti)) << status;
  }
  TpmKeyProvider provider({.tcti = "device:/nonexistent/tpm"});
  EXPECT_TRUE(absl::StrContains(provider.Open().status().message(),
                                "opening /nonexistent/tpm: No such file or directory"));
}

// As udev's rule for TPMs leaves a device, for a user who is not in its group. Only root can make
// one; anybody else takes from himself what his group has.
TEST_F(TpmKeyProviderTest, DeviceIsOfAGroupThatTheUserIsNotIn_NamesThatGroup) {
  char path[] = "/tmp/smartkey-tpm-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  const bool is_root = geteuid() == 0;
  const gid_t gid = is_root ? LookUpGroup("mail").value().value() : getegid();
  ASSERT_EQ(fchown(fd, geteuid(), gid), 0);
  ASSERT_EQ(fchmod(fd, is_root ? 0660 : 0060), 0);
  close(fd);
  const std::string group = GroupNameOf(gid);
  EXPECT_EXIT(
      {
        if (is_root && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) {
          _exit(2);
        }
        TpmKeyProvider provider({.tcti = absl::StrCat("device:", path)});
        const absl::Status status = provider.Open().status();
        const bool told =
            absl::StrContains(status.message(),
                              absl::StrCat("opening ", path, ": Permission denied")) &&
            RemedyOf(status) == absl::StrCat("the device belongs to the group ", group,
                                             ": SupplementaryGroups=", group,
                                             " in the unit, then restart");
        _exit(ReasonOf(status) == Reason::kHardwareAbsent && told ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  unlink(path);
}

// As another user: nothing is closed to root.
TEST_F(TpmKeyProviderTest, DeviceMayNotBeOpened_SaysSoAndNamesTheGroupItIsToBeGiven) {
  char path[] = "/tmp/smartkey-tpm-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(fchmod(fd, 0), 0);
  close(fd);
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
        TpmKeyProvider provider({.tcti = absl::StrCat("device:", path)});
        const absl::Status status = provider.Open().status();
        const bool told =
            absl::StrContains(status.message(),
                              absl::StrCat("opening ", path, ": Permission denied")) &&
            absl::StrContains(RemedyOf(status), "chgrp tss") &&
            absl::StrContains(RemedyOf(status), "SupplementaryGroups=tss");
        _exit(ReasonOf(status) == Reason::kHardwareAbsent && told ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  unlink(path);
}

// Keys made by released versions (make_golden_tpm_keys) work for ever.
TEST_F(TpmKeyProviderTest, KeysOfEveryRelease_LoadAndSign) {
  int releases = 0;
  for (const auto& release : std::filesystem::directory_iterator(SMARTKEY_FIXTURES)) {
    std::ifstream file(release.path() / "tpm_keys.json");
    if (!file) continue;
    ++releases;
    SCOPED_TRACE(release.path().filename().string());
    const nlohmann::json keys = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(keys.is_array() && !keys.empty());
    absl::StatusOr<std::unique_ptr<Swtpm>> tpm =
        Swtpm::StartFrom((release.path() / "swtpm").string());
    ASSERT_TRUE(tpm.ok()) << tpm.status();
    tpm_ = *std::move(tpm);
    std::unique_ptr<TpmKeyProvider> provider = Opened();
    for (const nlohmann::json& entry : keys) {
      const auto octets = [&entry](const char* name) {
        return Base64UrlDecode(entry.value(name, "")).value_or("");
      };
      const SignatureAlgorithm algorithm = AlgorithmFromName(entry.value("algorithm", "")).value();
      const PublicKey expected = {.type = KeyTypeFor(algorithm),
                                  .x = octets("x"),
                                  .y = octets("y"),
                                  .n = octets("n"),
                                  .e = octets("e")};
      const absl::StatusOr<std::string> signature = provider->Sign(
          {.provider = "tpm", .blob = octets("blob")}, expected, algorithm, "message");
      ASSERT_TRUE(signature.ok()) << AlgorithmName(algorithm) << ": " << signature.status();
      EXPECT_TRUE(VerifySignature(expected, algorithm, "message", *signature));
    }
  }
  EXPECT_GE(releases, 1);
}

TEST_F(TpmKeyProviderTest, FrozenTpmUnderAWorker_FailsCallsAndServesAgainOnceThawed) {
  SystemClock clock;
  TimerThread timers(clock);
  KeyWorker worker([this] { return NewProvider(); }, clock, timers,
                   {.sign_limit = absl::Milliseconds(300),
                    .open_limit = absl::Milliseconds(300),
                    .longest_retry = absl::Milliseconds(50)});
  Mutex mu;
  CondVar changed;
  int answers = 0;
  absl::StatusOr<CreatedKey> key = absl::UnknownError("not made");
  absl::StatusOr<std::string> signature = absl::UnknownError("not made");
  const auto await = [&](int count) {
    MutexLock lock(mu);
    while (answers < count) changed.Wait(mu);
  };
  const auto sign = [&] {
    worker.Sign({.key = key->reference, .public_key = key->public_key, .message = "message"},
                [&](absl::StatusOr<std::string> result) {
                  MutexLock lock(mu);
                  signature = std::move(result);
                  ++answers;
                  changed.NotifyAll();
                });
  };
  worker.CreateKey({.label = "label"}, [&](absl::StatusOr<CreatedKey> result) {
    MutexLock lock(mu);
    key = std::move(result);
    ++answers;
    changed.NotifyAll();
  });
  await(1);
  ASSERT_TRUE(key.ok()) << key.status();
  tpm_->Freeze();
  sign();
  await(2);
  EXPECT_EQ(ReasonOf(signature.status()), Reason::kHardwareTimeout) << signature.status();
  EXPECT_NE(worker.status().state, ProviderState::kReady);
  tpm_->Thaw();
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  for (int count = 3; !signature.ok() && absl::Now() < give_up; ++count) {
    sign();
    await(count);
    absl::SleepFor(absl::Milliseconds(10));
  }
  ASSERT_TRUE(signature.ok()) << signature.status();
  EXPECT_TRUE(VerifySignature(key->public_key, kEs256, "message", *signature));
}

}  // namespace
}  // namespace smartkey
