// SPDX-License-Identifier: Apache-2.0
// The key provider and the keys of tokens with every peculiarity that SoftHSM2 does not have.
// On real tokens: tests/contract and pkcs11_key_provider_test.cc.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/thumbprint.h"
#include "tests/hsm/pkcs11/fake_token_test.h"

namespace smartkey {
namespace {

using testing::HasSubstr;

const std::string kTrue(1, '\1');
const std::string kFalse(1, '\0');

using Pkcs11KeysTest = FakeTokenTest;

// ---- Keys

TEST_F(Pkcs11KeysTest, CreatedKey_HasItsThumbprintAsIdOnBothHalves) {
  Open();
  const CreatedKey key = Made();
  EXPECT_EQ(IdOf(key), Thumbprint(key.public_key));
  ASSERT_EQ(token_.objects.size(), 2u);
  for (const auto& [handle, object] : token_.objects) {
    EXPECT_EQ(object.attributes.at(CKA_ID), Thumbprint(key.public_key));
    EXPECT_EQ(object.attributes.at(CKA_LABEL), "smartkeyd:i:r1:1");
  }
}

TEST_F(Pkcs11KeysTest, LabelOfAnotherInstance_IsNotGivenToAKey) {
  Open();
  for (const char* label : {"smartkeyd:j:r:1", "key", "", "smartkeyd:i"}) {
    EXPECT_EQ(ReasonOf(provider_->CreateKey(kEs256, label).status()), Reason::kInvalidArgument);
  }
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11KeysTest, IdThatCannotBeChanged_TheFirstOneStays) {
  token_.ids_that_can_be_changed = 0;
  Open();
  const CreatedKey key = Made();
  EXPECT_NE(IdOf(key), Thumbprint(key.public_key));
  EXPECT_EQ(IdOf(key).size(), 32u);
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_TRUE(provider_->DestroyKey(key.reference).ok());
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11KeysTest, IdThatCanBeChangedOnOneHalfOnly_IsTheSameOnBoth) {
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

TEST_F(Pkcs11KeysTest, TokenThatRefusesAFalseAttribute_IsAskedWithoutIt) {
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

TEST_F(Pkcs11KeysTest, TokenThatRefusesSeveralFalseAttributes_IsAskedWithoutAny) {
  token_.refused_if_false = {CKA_DECRYPT, CKA_SIGN_RECOVER};
  Open(/*strict=*/false);
  EXPECT_EQ(Sign(Made()), kSuccess);
}

TEST_F(Pkcs11KeysTest, KeyThatIsNotProtected_IsDestroyedAtOnceWithBothHalves) {
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

TEST_F(Pkcs11KeysTest, KeyThatIsNotLocal_IsRefusedIfStrict) {
  token_.forced = {{CKA_LOCAL, kFalse}};
  Open(/*strict=*/true);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kKeyNotProtected);
  Open(/*strict=*/false);
  EXPECT_EQ(Sign(Made()), kSuccess);
}

TEST_F(Pkcs11KeysTest, KeyThatSignsWrongly_IsDestroyedAtOnce) {
  Open();
  token_.signature = std::string(64, 'x');
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  token_.signature = std::string(63, 'x');
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  token_.signature = "";
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kSignatureWrong);
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11KeysTest, FullToken_SaysSo) {
  Open();
  module_.FailNext("C_GenerateKeyPair", CKR_DEVICE_MEMORY);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareFull);
  EXPECT_EQ(module_.calls("C_GenerateKeyPair"), 1) << "not a matter of the template";
}

TEST_F(Pkcs11KeysTest, CreationCutShortAnywhere_LeavesOneWholeKey) {
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

TEST_F(Pkcs11KeysTest, CreationThatFailedButMadeTheKey_LeavesNoStray) {
  Open();
  const CreatedKey bystander = Made();
  token_.answer_after_generating = CKR_DEVICE_MEMORY;
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareFull);
  EXPECT_EQ(token_.objects.size(), 2u);
  EXPECT_EQ(Sign(bystander), kSuccess);
}

TEST_F(Pkcs11KeysTest, SessionsLostInTheMiddleOfACreation_LeaveNoStray) {
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

TEST_F(Pkcs11KeysTest, PublicHalfThatCannotBeStored_IsNotNeeded) {
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

TEST_F(Pkcs11KeysTest, NeitherHalfTellsThePublicKey_NoKeyIsMade) {
  token_.tells_public_halves = false;
  Open();
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareError);
  EXPECT_TRUE(token_.objects.empty());
}

TEST_F(Pkcs11KeysTest, OnlyThePrivateHalfTellsThePublicKey_IsEnough) {
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

TEST_F(Pkcs11KeysTest, EveryAlgorithm_OnTokensOfEveryKind) {
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

TEST_F(Pkcs11KeysTest, SeveralKeysOfOneId_TheOneWhosePublicKeyMatchesSigns) {
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

TEST_F(Pkcs11KeysTest, AnotherKeyUnderTheId_IsDamagedAndDoesNotSign) {
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

TEST_F(Pkcs11KeysTest, HandleThatIsAnotherKeysByNow_IsNotUsed) {
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

TEST_F(Pkcs11KeysTest, KeyTakenOutBehindOurBack_IsGoneAndOthersWork) {
  Open();
  const CreatedKey key = Made();
  ASSERT_EQ(Sign(key), kSuccess);
  token_.objects.clear();
  const CreatedKey other = Made();
  EXPECT_EQ(Sign(key), Reason::kKeyGone);
  EXPECT_EQ(Sign(other), kSuccess);
}

TEST_F(Pkcs11KeysTest, RenamedOrClonedToken_StillHasItsKeys) {
  Open();
  const CreatedKey key = Made();
  token_.serial = "0002";
  ASSERT_TRUE(provider_->Open().ok());
  EXPECT_EQ(Sign(key), kSuccess);
  token_.objects.clear();
  // The right one may be put back.
  EXPECT_EQ(Sign(key), Reason::kKeyUnavailable);
  EXPECT_THAT(std::string(last_.message()),
              HasSubstr("it was made in label 'fake', serial '0001'"));
}

// ---- Keys of others

TEST_F(Pkcs11KeysTest, KeysOfOthers_AreCountedAndLeftAlone) {
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

TEST_F(Pkcs11KeysTest, RsaKeyFoundByListing_SignsWithWhateverHashItIsAskedFor) {
  Open();
  CreatedKey key = Made(SignatureAlgorithm::kRs384);
  key.reference = provider_->ListKeys()->keys.at(0).reference;
  EXPECT_EQ(Sign(key), kSuccess);
  key.algorithm = SignatureAlgorithm::kRs256;
  EXPECT_EQ(Sign(key), kSuccess);
  key.algorithm = kEs256;
  EXPECT_EQ(Sign(key), Reason::kAlgorithmUnsupported);
}

TEST_F(Pkcs11KeysTest, DestroyingCutShort_IsEndedByTheNextTry) {
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

TEST_F(Pkcs11KeysTest, PublicHalfWithoutItsPrivateOne_IsListedAndCanBeDestroyed) {
  Open();
  const CreatedKey whole = Made();
  const CreatedKey cut_short = Made();
  const CreatedKey of_others = Made();
  module_.FailNext("C_DestroyObject", CKR_GENERAL_ERROR, 1, 1);
  EXPECT_FALSE(provider_->DestroyKey(cut_short.reference).ok());
  for (auto& [handle, object] : token_.objects) {
    if (object.attributes[CKA_ID] == IdOf(of_others)) object.attributes[CKA_LABEL] = "web server";
  }
  const KeyInventory inventory = provider_->ListKeys().value();
  ASSERT_EQ(inventory.keys.size(), 2u);
  EXPECT_EQ(inventory.keys[0].reference, whole.reference);
  EXPECT_EQ(inventory.keys[1].id, IdOf(cut_short));
  EXPECT_TRUE(provider_->DestroyKey(inventory.keys[1].reference).ok());
  EXPECT_EQ(provider_->ListKeys()->keys.size(), 1u);
  EXPECT_EQ(token_.objects.size(), 4u);
}

}  // namespace
}  // namespace smartkey
