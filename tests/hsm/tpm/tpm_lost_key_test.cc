// SPDX-License-Identifier: Apache-2.0
// What is said of a key whose TPM does not know it any more.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/hsm/tpm/tpm_fixture.h"
#include "tests/support/chaos_tcti.h"

namespace smartkey {
namespace {

class TpmLostKeyTest : public TpmFixture {
 protected:
  void ExpectLost(const CreatedKey& key, const std::string& machine_id, Reason wanted) {
    std::unique_ptr<TpmKeyProvider> provider = Opened(machine_id);
    EXPECT_EQ(ReasonOf(Signs(*provider, key)), wanted);
    EXPECT_EQ(ReasonOf(provider->CheckKey(key.reference, key.public_key)), wanted);
    // Nothing is made in its place, and new keys are possible.
    EXPECT_TRUE(Signs(*provider, MadeBy(*provider)).ok());
    EXPECT_EQ(Handles(TPM2_PERSISTENT_FIRST), 0u);
  }
};

struct Happening {
  const char* name;
  bool cleared;
  bool another_tpm;
  const char* machine_id;  // afterwards; "machine" before
  Reason with_identity;    // where the endorsement hierarchy tells which TPM it is
  Reason without;          // where only the machine id does
};

constexpr Reason kCleared = Reason::kKeyLostTpmCleared;
constexpr Reason kElsewhere = Reason::kKeyLostOtherMachine;

const std::vector<Happening>& Happenings() {
  static const auto& all = *new std::vector<Happening>{
      {"the TPM was cleared", true, false, "machine", kCleared, kCleared},
      {"cleared, and the system installed anew", true, false, "new", kCleared, kElsewhere},
      {"cleared, and no machine id any more", true, false, "", kCleared, kCleared},
      {"mainboard swapped, disk kept", false, true, "machine", kElsewhere, kCleared},
      {"disk moved into another machine, which has its own id", false, true, "new", kElsewhere,
       kElsewhere},
      {"disk moved, no machine id", false, true, "", kElsewhere, kCleared},
      {"another TPM, cleared as well", true, true, "machine", kElsewhere, kCleared},
  };
  return all;
}

TEST_F(TpmLostKeyTest, TheTpmTellsWhichOneItIs) {
  for (const Happening& happening : Happenings()) {
    SCOPED_TRACE(happening.name);
    const CreatedKey key = MadeBy(*Opened("machine"));
    if (happening.another_tpm) {
      ASSERT_TRUE(tpm_->Replace().ok());
    }
    if (happening.cleared) Clear();
    ExpectLost(key, happening.machine_id, happening.with_identity);
  }
}

TEST_F(TpmLostKeyTest, TheTpmDoesNotTellWhichOneItIs_TheMachineIdDoes) {
  for (const Happening& happening : Happenings()) {
    SCOPED_TRACE(happening.name);
    SetHierarchyAuth(ESYS_TR_RH_ENDORSEMENT, "secret");
    const CreatedKey key = MadeBy(*Opened("machine"));
    EXPECT_EQ(ParseTpmKeyBlob(key.reference.blob)->tpm_identity, "");
    if (happening.another_tpm) {
      ASSERT_TRUE(tpm_->Replace().ok());
    }
    if (happening.cleared) Clear();  // which takes the endorsement hierarchy's password, too
    ExpectLost(key, happening.machine_id, happening.without);
    ASSERT_TRUE(tpm_->Replace().ok());
  }
}

TEST_F(TpmLostKeyTest, OnlyTheMachineIdChanged_NothingIsLost) {
  const CreatedKey key = MadeBy(*Opened("machine"));
  EXPECT_TRUE(Signs(*Opened("new"), key).ok());
}

TEST_F(TpmLostKeyTest, TheTpmComesBack_SoDoesTheKey) {
  const CreatedKey key = MadeBy(*Opened());
  std::unique_ptr<Swtpm> other = Swtpm::Start().value();
  std::swap(tpm_, other);
  ExpectLost(key, "machine", kElsewhere);
  std::swap(tpm_, other);
  EXPECT_TRUE(Signs(*Opened(), key).ok());
}

// "Lost" is written down for good, so nothing but a TPM in order may say it.
TEST_F(TpmLostKeyTest, TpmFailsWhileItIsAskedWhoItIs_IsNotCalledALoss) {
  const CreatedKey key = MadeBy(*Opened());
  Clear();
  ChaosTcti chaos(tpm_->tcti());
  TpmKeyProvider provider({.tcti = chaos.tcti(), .machine_id = "new"});
  ASSERT_TRUE(provider.Open().ok());
  chaos.TakeCommands();
  ASSERT_EQ(ReasonOf(Signs(provider, key)), kCleared);
  const int commands = static_cast<int>(chaos.TakeCommands().size());
  ASSERT_GT(commands, 1);
  for (int nth = 1; nth <= commands; ++nth) {
    for (const TSS2_RC code : {TPM2_RC_OBJECT_MEMORY, TPM2_RC_FAILURE, TPM2_RC_INITIALIZE}) {
      ASSERT_TRUE(provider.Open().ok());
      chaos.Arm(nth, {.kind = TpmFault::Kind::kTpmCode, .code = code}, /*times=*/1000);
      const Reason reason = ReasonOf(Signs(provider, key));
      EXPECT_TRUE(chaos.happened());
      chaos.Disarm();
      EXPECT_TRUE(reason == kCleared || reason == Reason::kHardwareDegraded)
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
