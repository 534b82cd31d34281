// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_provisioning.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "base/error.h"
#include "base/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/key_worker.h"
#include "tests/hsm/tpm/tpm_fixture.h"
#include "tests/support/chaos_tcti.h"

namespace smartkey {
namespace {

using testing::HasSubstr;

class TpmProvisioningTest : public TpmFixture {
 protected:
  static absl::StatusOr<ProvisionedParent> ProvisionBy(TpmKeyProvider& provider,
                                                       absl::string_view password = "") {
    return provider.parent_provisioner()->ProvisionParent(Secret::CopyOf(password));
  }
  absl::StatusOr<ProvisionedParent> ProvisionWith(absl::string_view password) {
    return ProvisionBy(*NewProvider(), password);
  }
  std::string NameOfPersistent() {
    std::unique_ptr<EsysContext> raw = Raw();
    return FindPersistentParent(*raw).value().value().name;
  }
};

TEST_F(TpmProvisioningTest, NothingThere_IsMadeAndKeysOfTheTransientParentGoOn) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey before = MadeBy(*provider);
  ASSERT_EQ(ParentOf(before), TpmParentKind::kTransientEccV1);
  const absl::StatusOr<ProvisionedParent> made = ProvisionBy(*provider);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->handle, 0x81000001u);
  EXPECT_FALSE(made->already_there);
  EXPECT_EQ(made->name, NameOfPersistent());
  EXPECT_EQ(made->name, ParseTpmKeyBlob(before.reference.blob)->parent_name);
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);

  const absl::StatusOr<ProviderCapabilities> opened = provider->Open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(opened->detail, HasSubstr("parent persistent 0x81000001 with name 000b"));
  EXPECT_TRUE(Signs(*provider, before).ok());
  const CreatedKey after = MadeBy(*provider);
  EXPECT_EQ(ParentOf(after), TpmParentKind::kPersistentSrk);
  EXPECT_TRUE(Signs(*provider, after).ok());
  // And those made under the persistent one do without it.
  Unprovision();
  EXPECT_TRUE(Signs(*Opened(), after).ok());
}

TEST_F(TpmProvisioningTest, AcceptableOneThere_NothingIsChanged) {
  Provision(RsaStorageRoot());
  const std::string name = NameOfPersistent();
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "secret");
  const absl::StatusOr<ProvisionedParent> found = ProvisionWith("not asked for");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->already_there);
  EXPECT_EQ(found->name, name);
  EXPECT_EQ(NameOfPersistent(), name);
}

TEST_F(TpmProvisioningTest, SomethingElseThere_IsLeftAloneAndSaidToBe) {
  for (const auto& [area, password] :
       {std::pair<TPM2B_PUBLIC, const char*>{SigningKeyTemplate(kEs256), ""},
        {StorageRootTemplate(), "password"}}) {
    Provision(area, password);
    const std::string name = NameOfPersistent();
    EXPECT_EQ(ReasonOf(ProvisionWith("").status()), Reason::kTpmHandleTaken);
    EXPECT_EQ(NameOfPersistent(), name);
    EXPECT_EQ(Handles(TPM2_PERSISTENT_FIRST), 1u);
    Unprovision();
  }
}

TEST_F(TpmProvisioningTest, OwnerHasAPassword_ItIsNeededAndTriedOnce) {
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "the password");
  ChaosTcti counter(tpm_->tcti());
  TpmKeyProvider provider({.tcti = counter.tcti()});
  EXPECT_EQ(ReasonOf(provider.Open().status()), Reason::kTpmOwnerAuthRequired);
  for (const std::string& wrong :
       {std::string(), std::string("wrong"), std::string("the passwor"), std::string(64, 'x')}) {
    counter.TakeCommands();
    EXPECT_EQ(ReasonOf(ProvisionBy(provider, wrong).status()), Reason::kTpmOwnerAuthRequired)
        << wrong;
    const std::vector<uint32_t> commands = counter.TakeCommands();
    EXPECT_EQ(std::count(commands.begin(), commands.end(), TPM2_CC_CreatePrimary), 1);
    EXPECT_EQ(std::count(commands.begin(), commands.end(), TPM2_CC_EvictControl), 0);
    EXPECT_EQ(Handles(TPM2_PERSISTENT_FIRST), 0u);
  }
  EXPECT_EQ(ReasonOf(ProvisionBy(provider, std::string(65, 'x')).status()),
            Reason::kInvalidArgument);

  const absl::StatusOr<ProvisionedParent> made = ProvisionBy(provider, "the password");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(provider.Open().ok()) << "no password is needed from here on";
  EXPECT_TRUE(Signs(provider, MadeBy(provider)).ok());
  EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 1u) << "the key";
}

TEST_F(TpmProvisioningTest, PasswordOfTheOwner_IsForgottenByTheContext) {
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "the password");
  std::unique_ptr<EsysContext> context = Raw();
  ASSERT_TRUE(ProvisionStorageRoot(*context, Secret::CopyOf("the password")).ok());
  EXPECT_EQ(ReasonOf(CreateStoragePrimary(*context, ESYS_TR_RH_OWNER).status()),
            Reason::kTpmOwnerAuthRequired);
}

TEST_F(TpmProvisioningTest, NoDevice_IsAbsent) {
  tpm_->Kill();
  EXPECT_EQ(ReasonOf(ProvisionWith("").status()), Reason::kHardwareAbsent);
}

TEST_F(TpmProvisioningTest, LockedOut_IsMadeAllTheSame) {
  LockOut();
  EXPECT_TRUE(ProvisionWith("").ok());
}

TEST_F(TpmProvisioningTest, WorkerThatLacksOnlyThat_BecomesReadyByIt) {
  SetHierarchyAuth(ESYS_TR_RH_OWNER, "the password");
  SystemClock clock;
  TimerThread timers(clock);
  KeyWorker worker([this] { return NewProvider(); }, clock, timers);
  const auto await = [&worker](const std::function<bool(const ProviderStatus&)>& wanted) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (!wanted(worker.status()) && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    return wanted(worker.status());
  };
  const auto provision = [&](absl::string_view password) {
    Mutex mu;
    CondVar changed;
    absl::optional<absl::StatusOr<ProvisionedParent>> answer;
    worker.ProvisionParent(Secret::CopyOf(password), [&](absl::StatusOr<ProvisionedParent> result) {
      MutexLock lock(mu);
      answer = std::move(result);
      changed.NotifyAll();
    });
    MutexLock lock(mu);
    while (!answer.has_value()) changed.Wait(mu);
    return *answer;
  };
  const auto lacks_parent = [](const ProviderStatus& status) {
    return status.state == ProviderState::kDegraded && status.next_attempt.has_value() &&
           ReasonOf(status.last_error) == Reason::kTpmOwnerAuthRequired;
  };
  ASSERT_TRUE(await(lacks_parent));
  EXPECT_EQ(ReasonOf(provision("wrong").status()), Reason::kTpmOwnerAuthRequired);
  ASSERT_TRUE(await(lacks_parent));
  const absl::StatusOr<ProvisionedParent> made = provision("the password");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(
      await([](const ProviderStatus& status) { return status.state == ProviderState::kReady; }));
  EXPECT_THAT(worker.status().capabilities->detail, HasSubstr("persistent 0x81000001"));
}

}  // namespace
}  // namespace smartkey
