// SPDX-License-Identifier: Apache-2.0
// The key provider on a token that has every peculiarity and fault that real ones have and SoftHSM2
// cannot be brought to. On real tokens: tests/contract and pkcs11_key_provider_test.cc.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/thumbprint.h"
#include "tests/fakes/fake_pkcs11_module.h"
#include "tests/hsm/pkcs11/temporary_directory.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;
constexpr Reason kSuccess = Reason::kUnspecified;

const std::string kTrue(1, '\1');
const std::string kFalse(1, '\0');

class Pkcs11FaultsTest : public testing::Test {
 protected:
  Pkcs11FaultsTest() : token_(module_.AddToken()) { directory_.Write("pin", "1234\n"); }

  void Open(bool strict = true, int max_sessions = 8) {
    provider_ = std::make_unique<Pkcs11KeyProvider>(
        Pkcs11KeyProvider::Options{.uri = "pkcs11:token=fake",
                                   .pin_file = directory_ / "pin",
                                   .max_sessions = max_sessions,
                                   .strict_attributes = strict,
                                   .instance_id = "i",
                                   .rejected_pin_file = directory_ / "record"},
        std::make_unique<FakePkcs11Module>(module_));
    const absl::StatusOr<ProviderCapabilities> capabilities = provider_->Open();
    ASSERT_TRUE(capabilities.ok()) << capabilities.status();
    capabilities_ = *capabilities;
  }

  absl::StatusOr<CreatedKey> Create(SignatureAlgorithm algorithm = kEs256) {
    return provider_->CreateKey(algorithm, absl::StrCat("smartkeyd:i:r", ++labels_, ":1"));
  }
  CreatedKey Made(SignatureAlgorithm algorithm = kEs256) {
    absl::StatusOr<CreatedKey> key = Create(algorithm);
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() ? *key : CreatedKey();
  }
  // kSuccess only for a signature that OpenSSL accepts.
  Reason Sign(const CreatedKey& key) {
    const absl::StatusOr<std::string> signature =
        provider_->Sign(key.reference, key.public_key, key.algorithm, "message");
    last_ = signature.status();
    if (signature.ok()) {
      EXPECT_TRUE(VerifySignature(key.public_key, key.algorithm, "message", *signature));
    }
    return ReasonOf(last_);
  }
  FakePkcs11Token::Object& PrivateObject() {
    for (auto& [handle, object] : token_.objects) {
      if (object.key != nullptr) return object;
    }
    ADD_FAILURE() << "no private key";
    static FakePkcs11Token::Object none;
    return none;
  }
  static std::string IdOf(const CreatedKey& key) {
    return ParsePkcs11KeyReference(key.reference.blob)->id;
  }

  TemporaryDirectory directory_;
  FakePkcs11 module_;
  FakePkcs11Token& token_;
  std::unique_ptr<Pkcs11KeyProvider> provider_;
  ProviderCapabilities capabilities_;
  absl::Status last_;
  int labels_ = 0;
};

// ---- Opening

TEST_F(Pkcs11FaultsTest, Open_LogsInOnceAndSaysWhatIsThere) {
  Open();
  EXPECT_EQ(module_.calls("C_Login"), 1);
  EXPECT_EQ(capabilities_.provider, "pkcs11");
  EXPECT_EQ(capabilities_.hardware, "Fakes Inc, F1 (PKCS#11)");
  EXPECT_THAT(capabilities_.detail, HasSubstr("label 'fake', serial '0001'"));
  EXPECT_THAT(capabilities_.detail, testing::Not(HasSubstr("1234")));
  EXPECT_THAT(capabilities_.algorithms,
              ElementsAre(SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs384,
                          SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs256));
}

TEST_F(Pkcs11FaultsTest, TokenWithoutLogin_NeedsNoPin) {
  token_.flags &= ~CKF_LOGIN_REQUIRED;
  std::filesystem::remove(directory_ / "pin");
  Open();
  EXPECT_EQ(Sign(Made()), kSuccess);
  EXPECT_EQ(module_.calls("C_Login"), 0);
}

TEST_F(Pkcs11FaultsTest, ManySignatures_TakeOneLoginAndTwoSessions) {
  Open();
  const CreatedKey key = Made();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(module_.calls("C_Login"), 1);
  EXPECT_EQ(token_.sessions_opened, 2);
  EXPECT_EQ(module_.calls("C_Logout"), 0);
  provider_.reset();
  EXPECT_EQ(module_.open_sessions(), 0u);
}

TEST_F(Pkcs11FaultsTest, PinInTheUrisFile_IsUsedAndTwoAreRefused) {
  const std::string uri = absl::StrCat("pkcs11:token=fake?pin-source=", directory_ / "pin");
  Pkcs11KeyProvider one({.uri = uri, .instance_id = "i"},
                        std::make_unique<FakePkcs11Module>(module_));
  EXPECT_TRUE(one.Open().ok());
  Pkcs11KeyProvider two({.uri = uri, .pin_file = directory_ / "pin", .instance_id = "i"},
                        std::make_unique<FakePkcs11Module>(module_));
  EXPECT_EQ(ReasonOf(two.Open().status()), Reason::kConfigInvalid);
}

// ---- Sessions

TEST_F(Pkcs11FaultsTest, OneSessionOnly_IsEnoughForEverything) {
  for (const bool by_token : {true, false}) {
    token_.max_sessions = by_token ? 1 : CK_EFFECTIVELY_INFINITE;
    Open(/*strict=*/true, by_token ? 8 : 1);
    const CreatedKey key = Made();
    EXPECT_EQ(Sign(key), kSuccess);
    EXPECT_EQ(provider_->ListKeys()->keys.size(), 1u);
    EXPECT_TRUE(provider_->CheckKey(key.reference, key.public_key).ok());
    EXPECT_EQ(ReasonOf(Create(SignatureAlgorithm::kRs256).status()), kSuccess);
    EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
    EXPECT_EQ(Sign(key), Reason::kKeyGone);
    EXPECT_EQ(module_.open_sessions(), 1u);
    provider_.reset();
    token_.objects.clear();
  }
  EXPECT_EQ(token_.sessions_opened, 2) << "one for each";
}

TEST_F(Pkcs11FaultsTest, OneSessionOnlyAndItIsLost_AnotherIsLoggedIn) {
  token_.max_sessions = 1;
  Open();
  const CreatedKey key = Made();
  module_.LoseSessions();
  EXPECT_EQ(Sign(key), kSuccess);
  // Void without being noticed before.
  module_.FailNext("C_SignInit", CKR_OPERATION_ACTIVE);
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(token_.pins_tried.size(), 3u);
}

TEST_F(Pkcs11FaultsTest, OtherProgramsHaveAllOtherSessions_TheFirstOneServes) {
  Open();
  const CreatedKey key = Made();
  module_.LoseSessions();
  ASSERT_EQ(Sign(key), kSuccess);
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 100);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sign(key), kSuccess);
}

TEST_F(Pkcs11FaultsTest, OtherProgramsHaveAllSessions_IsBusy) {
  Open();
  const CreatedKey key = Made();
  module_.LoseSessions();
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 2);
  EXPECT_EQ(Sign(key), Reason::kHardwareBusy);
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 1);
  EXPECT_EQ(Sign(key), kSuccess) << "tried again a little later";
}

TEST_F(Pkcs11FaultsTest, WriteProtectedToken_StillSigns) {
  Open();
  const CreatedKey key = Made();
  provider_.reset();
  token_.flags |= CKF_WRITE_PROTECTED;
  Open();
  EXPECT_THAT(capabilities_.detail, HasSubstr("write protected"));
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareError);
}

TEST_F(Pkcs11FaultsTest, FailedSignature_ItsSessionIsNotUsedAgain) {
  Open();
  const CreatedKey key = Made();
  const int before = token_.sessions_opened;
  // After C_SignInit: the operation may be under way for ever.
  module_.FailNext("C_Sign", CKR_DATA_INVALID);
  EXPECT_EQ(Sign(key), Reason::kHardwareError);
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(token_.sessions_opened, before + 1);
  EXPECT_EQ(module_.calls("C_Login"), 1) << "the other session kept the login";
}

// ---- What is mended inside one call, and what is not

TEST_F(Pkcs11FaultsTest, PassingFaults_AreNotNoticedByTheCaller) {
  Open();
  const CreatedKey key = Made();
  for (const CK_RV code : {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_OPERATION_ACTIVE,
                           CKR_OPERATION_NOT_INITIALIZED, CKR_KEY_HANDLE_INVALID,
                           CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, CKR_DEVICE_ERROR,
                           CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT, CKR_FUNCTION_CANCELED}) {
    for (const char* function : {"C_SignInit", "C_Sign", "C_FindObjectsInit", "C_FindObjects"}) {
      SCOPED_TRACE(absl::StrCat(function, " ", code));
      module_.FailNext(function, code);
      EXPECT_TRUE(provider_->CheckKey(key.reference, key.public_key).ok());
      EXPECT_EQ(Sign(key), kSuccess) << last_;
    }
  }
}

TEST_F(Pkcs11FaultsTest, FaultsThatLast_AreReportedForReopening) {
  Open();
  const CreatedKey key = Made();
  const std::pair<CK_RV, Reason> codes[] = {
      {CKR_SESSION_HANDLE_INVALID, Reason::kHardwareDegraded},
      {CKR_DEVICE_ERROR, Reason::kHardwareDegraded},
      {CKR_DEVICE_REMOVED, Reason::kHardwareAbsent},
  };
  for (const auto& [code, reason] : codes) {
    module_.FailNext("C_Sign", code, 2);
    EXPECT_EQ(Sign(key), reason);
    ASSERT_TRUE(provider_->Open().ok());
    EXPECT_EQ(Sign(key), kSuccess);
  }
}

TEST_F(Pkcs11FaultsTest, FaultsOfTheModule_AreReportedAtOnce) {
  Open();
  const CreatedKey key = Made();
  for (const CK_RV code : {CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_HOST_MEMORY,
                           CKR_CRYPTOKI_NOT_INITIALIZED, CKR_VENDOR_DEFINED | 5}) {
    const int calls = module_.calls("C_Sign");
    module_.FailNext("C_Sign", code);
    EXPECT_EQ(Sign(key), Reason::kHardwareDegraded) << code;
    EXPECT_EQ(module_.calls("C_Sign"), calls + 1);
    ASSERT_TRUE(provider_->Open().ok());
    EXPECT_EQ(Sign(key), kSuccess);
  }
}

TEST_F(Pkcs11FaultsTest, SessionsLost_TheKeyIsFoundAgain) {
  Open();
  const CreatedKey key = Made();
  ASSERT_EQ(Sign(key), kSuccess);
  module_.LoseSessions();
  EXPECT_EQ(Sign(key), kSuccess);
  module_.OnNext("C_SignInit", [this] { module_.LoseSessions(); });
  EXPECT_EQ(Sign(key), kSuccess) << "in the middle";
}

TEST_F(Pkcs11FaultsTest, TokenRemoved_IsAbsentUntilItIsBackInWhateverSlot) {
  Open();
  const CreatedKey key = Made();
  token_.present = false;
  module_.LoseSessions();
  EXPECT_EQ(Sign(key), Reason::kHardwareAbsent);
  EXPECT_FALSE(provider_->Open().ok());
  EXPECT_EQ(Sign(key), Reason::kHardwareAbsent);
  FakePkcs11Token& other = module_.AddToken();
  other.label = "other";
  token_.present = true;
  std::swap(module_.tokens[0], module_.tokens[1]);
  ASSERT_TRUE(provider_->Open().ok());
  EXPECT_EQ(Sign(key), kSuccess);
}

TEST_F(Pkcs11FaultsTest, TokenMovesToAnotherSlotWhileOpen_IsFollowed) {
  Open();
  const CreatedKey key = Made();
  module_.AddToken().label = "other";
  module_.OnNext("C_SignInit", [this] {
    module_.LoseSessions();
    std::swap(module_.tokens[0], module_.tokens[1]);
  });
  EXPECT_EQ(Sign(key), kSuccess) << last_;
  EXPECT_TRUE(module_.tokens[0]->pins_tried.empty()) << "the pin is for our token only";
}

// ---- Keys

TEST_F(Pkcs11FaultsTest, CreatedKey_HasItsThumbprintAsIdOnBothHalves) {
  Open();
  const CreatedKey key = Made();
  EXPECT_EQ(IdOf(key), Thumbprint(key.public_key));
  ASSERT_EQ(token_.objects.size(), 2u);
  for (const auto& [handle, object] : token_.objects) {
    EXPECT_EQ(object.attributes.at(CKA_ID), Thumbprint(key.public_key));
    EXPECT_EQ(object.attributes.at(CKA_LABEL), "smartkeyd:i:r1:1");
  }
}

TEST_F(Pkcs11FaultsTest, LabelOfAnotherInstance_IsNotGivenToAKey) {
  Open();
  for (const char* label : {"smartkeyd:j:r:1", "key", "", "smartkeyd:i"}) {
    EXPECT_EQ(ReasonOf(provider_->CreateKey(kEs256, label).status()), Reason::kInvalidArgument);
  }
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, IdThatCannotBeChanged_TheFirstOneStays) {
  token_.ids_that_can_be_changed = 0;
  Open();
  const CreatedKey key = Made();
  EXPECT_NE(IdOf(key), Thumbprint(key.public_key));
  EXPECT_EQ(IdOf(key).size(), 32u);
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, IdThatCanBeChangedOnOneHalfOnly_IsTheSameOnBoth) {
  // The private half takes it, the public one does not; then it is taken back, or cannot be.
  for (const int changes : {1, 2}) {
    token_.ids_that_can_be_changed = changes;
    module_.FailNext("C_SetAttributeValue", CKR_ATTRIBUTE_READ_ONLY, 1, 1);
    Open();
    const CreatedKey key = Made();
    EXPECT_EQ(PrivateObject().attributes.at(CKA_ID), IdOf(key));
    EXPECT_EQ(Sign(key), kSuccess);
    EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
    EXPECT_EQ(token_.Count(CKO_PRIVATE_KEY), 0);
    provider_.reset();
    token_.objects.clear();
  }
}

TEST_F(Pkcs11FaultsTest, TokenThatRefusesAFalseAttribute_IsAskedWithoutIt) {
  token_.refused_if_false = {CKA_DECRYPT};
  for (const CK_RV refusal :
       {CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_GENERAL_ERROR}) {
    token_.refusal = refusal;
    Open(/*strict=*/false);
    const CreatedKey key = Made();
    EXPECT_EQ(PrivateObject().attributes.at(CKA_DECRYPT), kTrue);
    EXPECT_EQ(PrivateObject().attributes.at(CKA_UNWRAP), kFalse) << "only that one is left out";
    EXPECT_THAT(key.attributes,
                testing::Contains(testing::AllOf(testing::Field(&KeyAttribute::name, "CKA_DECRYPT"),
                                                 testing::Field(&KeyAttribute::value, true))));
    EXPECT_EQ(Sign(key), kSuccess);
    token_.objects.clear();

    Open(/*strict=*/true);
    const absl::Status strict = Create().status();
    EXPECT_EQ(ReasonOf(strict), Reason::kKeyNotProtected);
    EXPECT_THAT(std::string(strict.message()), HasSubstr("CKA_DECRYPT=1"));
    EXPECT_TRUE(token_.objects.empty()) << "destroyed at once";
  }
}

TEST_F(Pkcs11FaultsTest, TokenThatRefusesSeveralFalseAttributes_IsAskedWithoutAny) {
  token_.refused_if_false = {CKA_DECRYPT, CKA_SIGN_RECOVER};
  Open(/*strict=*/false);
  EXPECT_EQ(Sign(Made()), kSuccess);
}

TEST_F(Pkcs11FaultsTest, KeyThatIsNotProtected_IsDestroyedAtOnceWithBothHalves) {
  Open(/*strict=*/false);
  const std::pair<CK_ATTRIBUTE_TYPE, std::string> wrongs[] = {{CKA_SENSITIVE, kFalse},
                                                              {CKA_EXTRACTABLE, kTrue},
                                                              {CKA_ALWAYS_SENSITIVE, kFalse},
                                                              {CKA_NEVER_EXTRACTABLE, kFalse},
                                                              {CKA_SIGN, kFalse},
                                                              {CKA_TOKEN, kFalse},
                                                              {CKA_PRIVATE, kFalse}};
  for (const auto& wrong : wrongs) {
    token_.forced = {wrong};
    EXPECT_EQ(ReasonOf(Create().status()), Reason::kKeyNotProtected) << wrong.first;
    EXPECT_TRUE(token_.objects.empty());
  }
  token_.forced = {};
  token_.untold = {CKA_NEVER_EXTRACTABLE};
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kKeyNotProtected) << "not told";
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, KeyThatIsNotLocal_IsRefusedIfStrict) {
  token_.forced = {{CKA_LOCAL, kFalse}};
  Open(/*strict=*/true);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kKeyNotProtected);
  Open(/*strict=*/false);
  EXPECT_EQ(Sign(Made()), kSuccess);
}

TEST_F(Pkcs11FaultsTest, KeyThatSignsWrongly_IsDestroyedAtOnce) {
  Open();
  token_.signature = std::string(64, 'x');
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  token_.signature = std::string(63, 'x');
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  token_.signature = "";
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, FullToken_SaysSo) {
  Open();
  module_.FailNext("C_GenerateKeyPair", CKR_DEVICE_MEMORY);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareFull);
  EXPECT_EQ(module_.calls("C_GenerateKeyPair"), 1) << "not a matter of the template";
}

TEST_F(Pkcs11FaultsTest, CreationCutShortAnywhere_LeavesOneWholeKey) {
  Open();
  int met = 0;
  for (const char* function : {"C_GenerateKeyPair", "C_GetAttributeValue", "C_SetAttributeValue",
                               "C_SignInit", "C_Sign"}) {
    const CreatedKey key = Made();
    const int calls_of_one = module_.calls(function);
    ASSERT_TRUE(provider_->DestroyKey(key.reference).ok());
    for (const CK_RV code : {CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED}) {
      // Logging in again takes long: then the first, one in the middle and the last.
      const int step = code == CKR_DEVICE_REMOVED ? std::max(1, calls_of_one / 2) : 1;
      for (int passing = 0; passing < calls_of_one; passing += step) {
        SCOPED_TRACE(absl::StrCat(function, " ", code, " after ", passing));
        const int before = module_.calls(function);
        module_.FailNext(function, code, 1, passing);
        const absl::StatusOr<CreatedKey> created = Create();
        if (module_.calls(function) - before > passing) ++met;
        module_.ClearFaults();
        ASSERT_TRUE(created.ok()) << created.status();
        EXPECT_EQ(Sign(*created), kSuccess);
        EXPECT_EQ(token_.objects.size(), 2u);
        ASSERT_TRUE(provider_->DestroyKey(created->reference).ok());
      }
    }
  }
  EXPECT_GT(met, 40);
}

TEST_F(Pkcs11FaultsTest, CreationThatFailedButMadeTheKey_LeavesNoStray) {
  Open();
  const CreatedKey bystander = Made();
  token_.answer_after_generating = CKR_DEVICE_MEMORY;
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareFull);
  EXPECT_EQ(token_.objects.size(), 2u);
  EXPECT_EQ(Sign(bystander), kSuccess);
}

TEST_F(Pkcs11FaultsTest, SessionsLostInTheMiddleOfACreation_LeaveNoStray) {
  for (const char* function : {"C_GetAttributeValue", "C_SetAttributeValue", "C_Sign"}) {
    SCOPED_TRACE(function);
    Open();
    module_.OnNext(function, [this] { module_.LoseSessions(); });
    const CreatedKey key = Made();
    EXPECT_EQ(token_.objects.size(), 2u);
    EXPECT_EQ(Sign(key), kSuccess);
    token_.objects.clear();
  }
}

TEST_F(Pkcs11FaultsTest, PublicHalfThatCannotBeStored_IsNotNeeded) {
  token_.stores_public_halves = false;
  Open();
  const CreatedKey key = Made();
  EXPECT_EQ(token_.objects.size(), 1u) << "and none is left in the session";
  const int signatures = module_.calls("C_Sign");
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(module_.calls("C_Sign"), signatures + 2) << "one to know which key it is";
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(module_.calls("C_Sign"), signatures + 3) << "once for a handle";
  EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, NeitherHalfTellsThePublicKey_NoKeyIsMade) {
  token_.tells_public_halves = false;
  Open();
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareError);
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11FaultsTest, OnlyThePrivateHalfTellsThePublicKey_IsEnough) {
  token_.tells_public_halves = false;
  token_.private_half_tells_public = true;
  Open();
  for (const SignatureAlgorithm algorithm : capabilities_.algorithms) {
    const CreatedKey key = Made(algorithm);
    const int signatures = module_.calls("C_Sign");
    EXPECT_EQ(Sign(key), kSuccess);
    EXPECT_EQ(module_.calls("C_Sign"), signatures + 1) << "no need to ask by a signature";
  }
}

TEST_F(Pkcs11FaultsTest, EveryAlgorithm_OnTokensOfEveryKind) {
  for (const bool wraps : {true, false}) {
    for (const bool raw : {true, false}) {
      for (const bool public_halves : {true, false}) {
        token_.wraps_points = wraps;
        token_.has_raw_mechanisms = raw;
        token_.stores_public_halves = public_halves;
        Open();
        for (const SignatureAlgorithm algorithm : capabilities_.algorithms) {
          const CreatedKey key = Made(algorithm);
          EXPECT_EQ(Sign(key), kSuccess) << AlgorithmName(algorithm) << ": " << last_;
        }
        token_.objects.clear();
      }
    }
  }
}

// ---- Which key is it

TEST_F(Pkcs11FaultsTest, SeveralKeysOfOneId_TheOneWhosePublicKeyMatchesSigns) {
  for (const bool private_half_tells : {true, false}) {
    token_.private_half_tells_public = private_half_tells;
    Open();
    std::vector<CreatedKey> keys = {Made(), Made(), Made()};
    // As after a careless import or a clone.
    for (auto& [handle, object] : token_.objects) object.attributes[CKA_ID] = IdOf(keys[0]);
    for (CreatedKey& key : keys) key.reference = keys[0].reference;
    ASSERT_TRUE(provider_->Open().ok());
    for (const CreatedKey& key : {keys[0], keys[1], keys[2], keys[0]}) {
      EXPECT_EQ(Sign(key), kSuccess) << last_;
    }
    const CreatedKey other = Made();
    keys[0].public_key = other.public_key;
    EXPECT_EQ(Sign(keys[0]), Reason::kKeyDamaged);
    token_.objects.clear();
  }
}

TEST_F(Pkcs11FaultsTest, AnotherKeyUnderTheId_IsDamagedAndDoesNotSign) {
  for (const bool public_halves : {true, false}) {
    token_.stores_public_halves = public_halves;
    Open();
    const CreatedKey key = Made();
    token_.objects.clear();
    const CreatedKey other = Made();
    for (auto& [handle, object] : token_.objects) object.attributes[CKA_ID] = IdOf(key);
    EXPECT_EQ(Sign(key), Reason::kKeyDamaged);
    EXPECT_EQ(ReasonOf(provider_->CheckKey(key.reference, key.public_key)), Reason::kKeyDamaged);
    token_.objects.clear();
  }
}

TEST_F(Pkcs11FaultsTest, HandleThatIsAnotherKeysByNow_IsNotUsed) {
  token_.reuses_handles = true;
  Open();
  const CreatedKey key = Made();
  ASSERT_EQ(Sign(key), kSuccess);
  KeyInventory inventory = provider_->ListKeys().value();
  ASSERT_EQ(inventory.keys.size(), 1u);
  // Taken out by another reference to it, and its handles given to the next key.
  ASSERT_TRUE(provider_->DestroyKey(inventory.keys[0].reference).ok());
  const CreatedKey next = Made();
  ASSERT_EQ(Sign(next), kSuccess);
  EXPECT_EQ(Sign(key), Reason::kKeyGone);
}

TEST_F(Pkcs11FaultsTest, KeyTakenOutBehindOurBack_IsGoneAndOthersWork) {
  Open();
  const CreatedKey key = Made();
  ASSERT_EQ(Sign(key), kSuccess);
  token_.objects.clear();
  const CreatedKey other = Made();
  EXPECT_EQ(Sign(key), Reason::kKeyGone);
  EXPECT_EQ(Sign(other), kSuccess);
}

TEST_F(Pkcs11FaultsTest, RenamedOrClonedToken_StillHasItsKeys) {
  Open();
  const CreatedKey key = Made();
  token_.serial = "0002";
  ASSERT_TRUE(provider_->Open().ok());
  EXPECT_EQ(Sign(key), kSuccess);
  token_.objects.clear();
  EXPECT_EQ(Sign(key), Reason::kKeyGone);
  EXPECT_THAT(std::string(last_.message()),
              HasSubstr("it was made in label 'fake', serial '0001'"));
}

// ---- Keys of others

TEST_F(Pkcs11FaultsTest, KeysOfOthers_AreCountedAndLeftAlone) {
  Open();
  const CreatedKey mine = Made();
  const CreatedKey theirs = Made();
  const CreatedKey foreign = Made();
  for (auto& [handle, object] : token_.objects) {
    std::string& label = object.attributes[CKA_LABEL];
    if (object.attributes[CKA_ID] == IdOf(theirs)) label = "smartkeyd:ii:r:1";
    if (object.attributes[CKA_ID] == IdOf(foreign)) label = "web server";
  }
  const KeyInventory inventory = provider_->ListKeys().value();
  ASSERT_EQ(inventory.keys.size(), 1u);
  EXPECT_EQ(inventory.keys[0].reference, mine.reference);
  EXPECT_EQ(inventory.keys[0].label, "smartkeyd:i:r1:1");
  EXPECT_EQ(inventory.of_other_instances, 1);

  EXPECT_EQ(ReasonOf(provider_->DestroyKey(theirs.reference)), Reason::kKeyUnavailable);
  EXPECT_EQ(ReasonOf(provider_->DestroyKey(foreign.reference)), Reason::kKeyUnavailable);
  EXPECT_EQ(token_.objects.size(), 6u);
  EXPECT_TRUE(provider_->DestroyKey(mine.reference).ok());
  EXPECT_EQ(token_.objects.size(), 4u);
}

TEST_F(Pkcs11FaultsTest, RsaKeyFoundByListing_SignsWithWhateverHashItIsAskedFor) {
  Open();
  CreatedKey key = Made(SignatureAlgorithm::kRs384);
  key.reference = provider_->ListKeys()->keys.at(0).reference;
  EXPECT_EQ(Sign(key), kSuccess);
  key.algorithm = SignatureAlgorithm::kRs256;
  EXPECT_EQ(Sign(key), kSuccess);
  key.algorithm = kEs256;
  EXPECT_EQ(Sign(key), Reason::kAlgorithmUnsupported);
}

TEST_F(Pkcs11FaultsTest, DestroyingCutShort_IsEndedByTheNextTry) {
  Open();
  const CreatedKey key = Made();
  module_.FailNext("C_DestroyObject", CKR_GENERAL_ERROR, 1, 1);
  EXPECT_FALSE(provider_->DestroyKey(key.reference).ok());
  EXPECT_EQ(token_.Count(CKO_PRIVATE_KEY), 0) << "the private half goes first";
  EXPECT_EQ(token_.Count(CKO_PUBLIC_KEY), 1);
  EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
  EXPECT_TRUE(token_.objects.empty());
  EXPECT_TRUE(provider_->DestroyKey(key.reference).ok()) << "absent is success";
}

// ---- CKA_ALWAYS_AUTHENTICATE

TEST_F(Pkcs11FaultsTest, KeyThatAsksEachTime_IsAuthenticatedEachTime) {
  token_.always_authenticate = true;
  Open();
  const CreatedKey key = Made();
  token_.pins_tried.clear();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_THAT(token_.pins_tried, ElementsAre("+1234", "+1234", "+1234"));
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11FaultsTest, KeyThatAsksEachTimeAndAPinThatIsWrongByNow_IsTriedOnceEver) {
  token_.always_authenticate = true;
  Open();
  const CreatedKey key = Made();
  token_.pin = "changed";
  token_.pins_tried.clear();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Sign(key), Reason::kPinRejected);
  EXPECT_EQ(token_.pins_tried.size(), 1u);
  EXPECT_FALSE(provider_->Open().ok());
  EXPECT_EQ(token_.pins_tried.size(), 1u) << "not at the next opening, either";
  directory_.Write("pin", "changed");
  ASSERT_TRUE(provider_->Open().ok());
  EXPECT_EQ(Sign(key), kSuccess);
}

TEST_F(Pkcs11FaultsTest, KeyThatAsksEachTimeAndATokenThatWouldLock_IsNotOfferedAPin) {
  token_.always_authenticate = true;
  Open();
  const CreatedKey key = Made();
  token_.pins_tried.clear();
  token_.flags |= CKF_USER_PIN_FINAL_TRY;
  EXPECT_EQ(Sign(key), Reason::kPinFinalTry);
  EXPECT_TRUE(token_.pins_tried.empty());
}

}  // namespace
}  // namespace smartkey
