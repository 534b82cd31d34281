// SPDX-License-Identifier: Apache-2.0
// Every code that a TPM or the way to it can answer, at the first, a middle and the last command of
// every operation, on a real swtpm behind a ChaosTcti.
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/tpm/tpm_capabilities.h"
#include "tests/hsm/tpm/tpm_fixture.h"
#include "tests/support/chaos_tcti.h"

namespace smartkey {
namespace {

using Kind = TpmFault::Kind;

constexpr Reason kSuccess = Reason::kUnspecified;

// One operation of the provider, and how to get to where it can be done.
struct Operation {
  const char* name;
  bool reloads;  // tries again when what it needs is not loaded
  std::function<void()> prepare;
  std::function<Reason()> run;  // kSuccess, or the failure's reason; checks what came out
};

class TpmChaosTest : public TpmFixture {
 protected:
  void SetUp() override {
    TpmFixture::SetUp();
    chaos_ = std::make_unique<ChaosTcti>(tpm_->tcti());
    provider_ = std::make_unique<TpmKeyProvider>(
        TpmKeyProvider::Options{.tcti = chaos_->tcti(), .machine_id = "machine"});
    ASSERT_TRUE(provider_->Open().ok());
    one_ = MadeBy(*provider_);
    two_ = MadeBy(*provider_);
    sealed_ = provider_->secret_sealer()->Seal(Secret::CopyOf("secret")).value();
    watcher_ = Raw();
    operations_ = AllOperations();
  }
  void TearDown() override {
    provider_.reset();
    watcher_.reset();
  }

  std::vector<Operation> AllOperations() {
    const auto open = [this] { EXPECT_TRUE(provider_->Open().ok()); };
    const auto sign = [this](const CreatedKey& key) { return ReasonOf(Signs(*provider_, key)); };
    return {
        {"open", false, [] {}, [this] { return ReasonOf(provider_->Open().status()); }},
        {"create", true, open,
         [this] { return ReasonOf(provider_->CreateKey(kEs256, "label").status()); }},
        {"sign loaded", true,
         [=, this] {
           open();
           EXPECT_EQ(sign(one_), kSuccess);
         },
         [=, this] { return sign(one_); }},
        {"sign with load", true,
         [=, this] {
           open();
           EXPECT_EQ(sign(two_), kSuccess);
         },
         [=, this] { return sign(one_); }},
        {"sign saved", true,
         [=, this] {
           open();
           EXPECT_EQ(sign(one_), kSuccess);
           EXPECT_EQ(sign(two_), kSuccess);
         },
         [=, this] { return sign(one_); }},
        {"check", true, open,
         [this] { return ReasonOf(provider_->CheckKey(one_.reference, one_.public_key)); }},
        {"seal", true, open,
         [this] {
           return ReasonOf(provider_->secret_sealer()->Seal(Secret::CopyOf("x")).status());
         }},
        {"unseal", true, open,
         [this] {
           const absl::StatusOr<Secret> secret = provider_->secret_sealer()->Unseal(sealed_);
           EXPECT_TRUE(!secret.ok() || Secret::Equal(*secret, "secret"));
           return ReasonOf(secret.status());
         }},
        {"provision", false,
         [this] {
           if (Count(TPM2_PERSISTENT_FIRST) > 0) Unprovision();
         },
         [this] { return ReasonOf(provider_->ProvisionParent(Secret()).status()); }},
    };
  }

  UINT32 Count(TPM2_HANDLE first) { return watcher_->ListHandles(first).value().count; }

  // The commands that an operation consists of when all goes well.
  std::vector<uint32_t> Rehearse(const Operation& operation) {
    operation.prepare();
    chaos_->TakeCommands();
    EXPECT_EQ(operation.run(), kSuccess) << operation.name;
    return chaos_->TakeCommands();
  }
  // The first, the middle and the last, from 1.
  static std::set<int> Places(size_t commands) {
    const int count = static_cast<int>(commands);
    return {1, (count + 1) / 2, count};
  }

  // Lets `fault` happen to the `nth` command of `operation`, and checks all that must hold whatever
  // it is. Returns what the operation said.
  Reason Strike(const Operation& operation, int nth, const TpmFault& fault) {
    operation.prepare();
    chaos_->Arm(nth, fault);
    const Reason said = operation.run();
    EXPECT_TRUE(chaos_->happened());
    chaos_->Disarm();
    // The next call works, after one opening at most; only provisioning closes the provider by
    // design.
    if (ReasonOf(Signs(*provider_, one_)) != kSuccess) {
      const absl::StatusOr<ProviderCapabilities> opened = provider_->Open();
      EXPECT_TRUE(opened.ok()) << opened.status();
      const absl::Status status = Signs(*provider_, one_);
      EXPECT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(Count(TPM2_LOADED_SESSION_FIRST), 0u);
    if (fault.kind == Kind::kTpmCode && !flush_failed_) {
      EXPECT_EQ(Count(TPM2_TRANSIENT_FIRST), 1u)
          << "the key that has just signed, and nothing else";
    }
    // What a lost answer or a failed flush has left goes with the next opening.
    EXPECT_TRUE(provider_->Open().ok());
    EXPECT_EQ(Count(TPM2_TRANSIENT_FIRST), 0u);
    return said;
  }

  // What an operation may say when the TPM answers `code` to its command `command`, once.
  static Reason ExpectedOf(const Operation& operation, uint32_t command, TSS2_RC code) {
    const TpmCodeRow& row = RowForTpmCode(code);
    if (row.recovery == TpmRecovery::kRetry) return kSuccess;
    switch (command) {
      case TPM2_CC_ContextLoad:  // a cache
      case TPM2_CC_ContextSave:
      case TPM2_CC_FlushContext:  // nobody waits for it
        return kSuccess;
      case TPM2_CC_ReadPublic:
        if (NormalizedTpmCode(code) == TPM2_RC_HANDLE) return kSuccess;  // there is none
        break;
      case TPM2_CC_CreatePrimary: {
        // When something new is made, the first is the endorsement hierarchy's, which says what TPM
        // this is; it need not be ours to use.
        const bool new_thing = absl::string_view(operation.name) == "create" ||
                               absl::string_view(operation.name) == "seal";
        if (new_thing && row.reason == Reason::kTpmOwnerAuthRequired) return kSuccess;
        break;
      }
      case TPM2_CC_Startup:
        if (NormalizedTpmCode(code) == TPM2_RC_INITIALIZE) return kSuccess;  // it was started
        break;
      case TPM2_CC_TestParms:
        if (IsParameterError(code) || row.reason == Reason::kAlgorithmUnsupported) return kSuccess;
        break;
      case TPM2_CC_Load:
        if (IsParameterError(code)) return Reason::kKeyDamaged;
        break;
      default:
        break;
    }
    if (row.recovery == TpmRecovery::kReload && operation.reloads) return kSuccess;
    return row.reason;
  }

  // The forms in which a TPM, or a resource manager in its name, gives out one row's code.
  static std::vector<TSS2_RC> FormsOf(TSS2_RC code) {
    std::vector<TSS2_RC> forms = {code};
    if (code & TPM2_RC_FMT1) {
      forms = {code, code | TPM2_RC_H | TPM2_RC_1, code | TPM2_RC_P | TPM2_RC_2,
               code | TPM2_RC_S | TPM2_RC_1};
    } else if (code == TPM2_RC_REFERENCE_H0 || code == TPM2_RC_REFERENCE_S0) {
      forms.push_back(code + 1);
    }
    forms.push_back(forms.back() | TSS2_RESMGR_TPM_RC_LAYER);
    if (code & TPM2_RC_FMT1) forms.push_back(code | TSS2_RESMGR_RC_LAYER);
    return forms;
  }

  std::unique_ptr<ChaosTcti> chaos_;
  std::unique_ptr<TpmKeyProvider> provider_;
  std::unique_ptr<EsysContext> watcher_;  // past the chaos
  CreatedKey one_, two_;
  std::string sealed_;
  std::vector<Operation> operations_;
  bool flush_failed_ = false;
};

std::string NameOfOperation(const testing::TestParamInfo<int>& info) {
  static constexpr const char* kNames[] = {"Open",         "Create",    "SignLoaded",
                                           "SignWithLoad", "SignSaved", "Check",
                                           "Seal",         "Unseal",    "Provision"};
  return kNames[info.param];
}

// One test for each operation, since each takes a while.
class TpmChaosWalk : public TpmChaosTest, public testing::WithParamInterface<int> {
 protected:
  const Operation& operation() { return operations_[GetParam()]; }
};

INSTANTIATE_TEST_SUITE_P(EachOperation, TpmChaosWalk, testing::Range(0, 9), NameOfOperation);

TEST_P(TpmChaosWalk, TpmAnswersAnyCode_TheReasonIsRightAndTheNextCallWorks) {
  const std::vector<uint32_t> commands = Rehearse(operation());
  int turn = 0;
  for (const TpmCodeRow& row : AllTpmCodes()) {
    if ((row.code & TSS2_RC_LAYER_MASK) != 0) continue;  // not the TPM's
    const std::vector<TSS2_RC> forms = FormsOf(row.code);
    for (const int nth : Places(commands.size())) {
      // Another form at each place, all of them in the middle.
      const bool all = nth != 1 && nth != static_cast<int>(commands.size());
      ++turn;
      for (size_t i = 0; i < (all ? forms.size() : 1); ++i) {
        const TSS2_RC code = forms[all ? i : turn % forms.size()];
        const uint32_t command = commands[nth - 1];
        SCOPED_TRACE(absl::StrFormat("%s: 0x%x (%s) to command %d of %d, 0x%x", operation().name,
                                     code, row.meaning, nth, commands.size(), command));
        flush_failed_ = command == TPM2_CC_FlushContext && row.recovery != TpmRecovery::kRetry;
        const Reason said = Strike(operation(), nth, {.kind = Kind::kTpmCode, .code = code});
        const Reason expected = ExpectedOf(operation(), command, code);
        EXPECT_EQ(said, expected) << ReasonName(said) << ", not " << ReasonName(expected);
        if (HasFailure()) return;  // one is enough to read
      }
    }
  }
}

TEST_P(TpmChaosWalk, TheWayBreaks_TheReasonIsRightAndTheNextCallWorks) {
  const std::vector<uint32_t> commands = Rehearse(operation());
  std::vector<TpmFault> faults = {{.kind = Kind::kDrop}};
  for (const TpmCodeRow& row : AllTpmCodes()) {
    if ((row.code & TSS2_RC_LAYER_MASK) == 0) continue;
    faults.push_back({.kind = Kind::kTransmitCode, .code = row.code});
    faults.push_back({.kind = Kind::kReceiveCode, .code = row.code});
  }
  for (const TpmFault& fault : faults) {
    const TpmCodeRow& row =
        RowForTpmCode(fault.kind == Kind::kDrop ? TSS2_TCTI_RC_IO_ERROR : fault.code);
    for (const int nth : Places(commands.size())) {
      const uint32_t command = commands[nth - 1];
      SCOPED_TRACE(absl::StrFormat("%s: fault %d, 0x%x (%s) at command %d of %d, 0x%x",
                                   operation().name, static_cast<int>(fault.kind), fault.code,
                                   row.meaning, nth, commands.size(), command));
      const Reason said = Strike(operation(), nth, fault);
      // After a broken exchange the library may refuse the next with "out of step".
      std::set<Reason> expected = {row.reason, Reason::kHardwareDegraded};
      // The library fetches again.
      const bool fetched_later =
          fault.kind == Kind::kReceiveCode && fault.code == TSS2_TCTI_RC_TRY_AGAIN;
      if (fetched_later) expected = {kSuccess};
      if (command == TPM2_CC_ContextLoad || command == TPM2_CC_ContextSave ||
          command == TPM2_CC_FlushContext) {
        expected.insert(kSuccess);
      }
      EXPECT_TRUE(expected.count(said) > 0) << ReasonName(said);
      if (HasFailure()) return;
    }
  }
}

TEST_F(TpmChaosTest, TpmThatIsBusyForGood_IsBusyAndNotBroken) {
  const Operation& sign = operations_[2];
  Rehearse(sign);
  chaos_->Arm(1, {.kind = Kind::kTpmCode, .code = TPM2_RC_RETRY}, /*times=*/1000);
  EXPECT_EQ(sign.run(), Reason::kHardwareBusy);
  chaos_->Disarm();
  EXPECT_EQ(sign.run(), kSuccess);
}

TEST_F(TpmChaosTest, Lockout_SaysWhenAnotherTryMakesSense) {
  const TpmFault lockout = {.kind = Kind::kTpmCode, .code = TPM2_RC_LOCKOUT};
  const auto retry_after = [&] {
    EXPECT_TRUE(provider_->Open().ok());
    EXPECT_TRUE(Signs(*provider_, one_).ok());
    chaos_->Arm(1, lockout);
    const absl::Status status = Signs(*provider_, one_);
    EXPECT_EQ(ReasonOf(status), Reason::kTpmLockout) << status;
    return RetryAfterOf(status);
  };
  LockOut();
  EXPECT_EQ(retry_after(), kForgivenAfter);
  const absl::StatusOr<ProviderCapabilities> opened = provider_->Open();
  ASSERT_TRUE(opened.ok());
  EXPECT_THAT(opened->detail, testing::HasSubstr("1 of 1 failures to lockout"));

  // Failures are never forgiven: then it is the lockout hierarchy that counts.
  std::unique_ptr<EsysContext> raw = Raw();
  ASSERT_EQ(Esys_DictionaryAttackParameters(raw->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
                                            ESYS_TR_NONE, ESYS_TR_NONE, /*newMaxTries=*/5,
                                            /*newRecoveryTime=*/0, /*lockoutRecovery=*/777),
            TSS2_RC_SUCCESS);
  EXPECT_EQ(retry_after(), absl::Seconds(777));
  ASSERT_EQ(Esys_DictionaryAttackParameters(raw->get(), ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD,
                                            ESYS_TR_NONE, ESYS_TR_NONE, 5, 0, 0),
            TSS2_RC_SUCCESS);
  EXPECT_EQ(retry_after(), absl::nullopt);
}

// The answer of a TPM whose list of algorithms goes on with SHA-512 where SHA-384 was asked for.
std::string WithoutSha384(std::string answer) {
  // After the header (10 octets) and "more" (1): capability, count, the first algorithm.
  constexpr size_t kCapability = 11;
  const std::string sha384 = {0, 0, 0, TPM2_CAP_ALGS, 0, 0, 0, 1, 0, TPM2_ALG_SHA384};
  if (answer.find(sha384, kCapability) == kCapability) {
    answer[kCapability + sha384.size() - 1] = TPM2_ALG_SHA512;
  }
  return answer;
}

TEST_F(TpmChaosTest, Sha384IsNotAmongTheAlgorithms_WhateverTestParmsSays) {
  chaos_->Arm(1, {.kind = Kind::kReplace, .code = 0, .replace = &WithoutSha384}, /*times=*/1000);
  const absl::StatusOr<ProviderCapabilities> opened = provider_->Open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(opened->algorithms,
              testing::ElementsAre(SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs256));
  EXPECT_EQ(ReasonOf(provider_->CreateKey(SignatureAlgorithm::kEs384, "label").status()),
            Reason::kAlgorithmUnsupported);
}

TEST_F(TpmChaosTest, TestParmsRefusesACurve_WhateverTheListOfAlgorithmsSays) {
  const std::vector<uint32_t> commands = Rehearse(operations_[0]);
  const auto first = std::find(commands.begin(), commands.end(), TPM2_CC_TestParms);
  chaos_->Arm(static_cast<int>(first - commands.begin()) + 1,
              {.kind = Kind::kTpmCode, .code = TPM2_RC_CURVE | TPM2_RC_P | TPM2_RC_1});
  const absl::StatusOr<ProviderCapabilities> opened = provider_->Open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(opened->algorithms,
              testing::ElementsAre(SignatureAlgorithm::kRs384, SignatureAlgorithm::kEs256,
                                   SignatureAlgorithm::kRs256));
}

TEST_F(TpmChaosTest, AnswerWithRandomOctets_IsNoCrashAndNoWrongSignature) {
  const Operation& sign = operations_[3];
  const std::vector<uint32_t> commands = Rehearse(sign);
  uint32_t random = 12345;
  for (int round = 0; round < 200; ++round) {
    const int nth = 1 + round % static_cast<int>(commands.size());
    sign.prepare();
    chaos_->Arm(nth, {.kind = Kind::kReplace, .code = 0, .replace = [&random](std::string answer) {
                        for (size_t i = 10; i < answer.size(); ++i) {  // the header is read first
                          random = random * 1664525 + 1013904223;
                          if (random >> 29 == 0) answer[i] = static_cast<char>(random >> 16);
                        }
                        return answer;
                      }});
    // As under a worker: what was wrong is noticed by whoever verifies, not by the provider.
    const absl::StatusOr<std::string> signature =
        provider_->Sign(one_.reference, one_.public_key, kEs256, "message");
    chaos_->Disarm();
    EXPECT_TRUE(!signature.ok() || signature->size() == 64);
    ASSERT_TRUE(provider_->Open().ok());
    ASSERT_TRUE(Signs(*provider_, one_).ok());
  }
}

}  // namespace
}  // namespace smartkey
