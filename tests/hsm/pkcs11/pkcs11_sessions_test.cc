// SPDX-License-Identifier: Apache-2.0
// The key provider when sessions, logins and tokens go away, and with tokens that allow few.
// On real tokens: tests/contract and pkcs11_key_provider_test.cc.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "tests/hsm/pkcs11/fake_token_test.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Pkcs11SessionsTest = FakeTokenTest;

// ---- Opening

TEST_F(Pkcs11SessionsTest, Open_LogsInOnceAndSaysWhatIsThere) {
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

TEST_F(Pkcs11SessionsTest, TokenWithoutLogin_NeedsNoPin) {
  token_.flags &= ~CKF_LOGIN_REQUIRED;
  std::filesystem::remove(directory_ / "pin");
  Open();
  EXPECT_EQ(Sign(Made()), kSuccess);
  EXPECT_EQ(module_.calls("C_Login"), 0);
}

TEST_F(Pkcs11SessionsTest, ManySignatures_TakeOneLoginAndTwoSessions) {
  Open();
  const CreatedKey key = Made();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(module_.calls("C_Login"), 1);
  EXPECT_EQ(token_.sessions_opened, 2);
  EXPECT_EQ(module_.calls("C_Logout"), 0);
  provider_.reset();
  EXPECT_EQ(module_.open_sessions(), 0u);
}

TEST_F(Pkcs11SessionsTest, PinInTheUrisFile_IsUsedAndTwoAreRefused) {
  const std::string uri = absl::StrCat("pkcs11:token=fake?pin-source=", directory_ / "pin");
  Pkcs11KeyProvider one({.uri = uri, .instance_id = "i"},
                        std::make_unique<FakePkcs11Module>(module_));
  EXPECT_TRUE(one.Open().ok());
  Pkcs11KeyProvider two({.uri = uri, .pin_file = directory_ / "pin", .instance_id = "i"},
                        std::make_unique<FakePkcs11Module>(module_));
  EXPECT_EQ(ReasonOf(two.Open().status()), Reason::kConfigInvalid);
}

// ---- Sessions

TEST_F(Pkcs11SessionsTest, OneSessionOnly_IsEnoughForEverything) {
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

TEST_F(Pkcs11SessionsTest, OneSessionOnlyAndItIsLost_AnotherIsLoggedIn) {
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

TEST_F(Pkcs11SessionsTest, OtherProgramsHaveAllOtherSessions_TheFirstOneServes) {
  Open();
  const CreatedKey key = Made();
  module_.LoseSessions();
  ASSERT_EQ(Sign(key), kSuccess);
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 100);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sign(key), kSuccess);
}

TEST_F(Pkcs11SessionsTest, OtherProgramsHaveAllSessions_IsBusy) {
  Open();
  const CreatedKey key = Made();
  module_.LoseSessions();
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 2);
  EXPECT_EQ(Sign(key), Reason::kHardwareBusy);
  module_.FailNext("C_OpenSession", CKR_SESSION_COUNT, 1);
  EXPECT_EQ(Sign(key), kSuccess) << "tried again a little later";
}

TEST_F(Pkcs11SessionsTest, WriteProtectedToken_StillSigns) {
  Open();
  const CreatedKey key = Made();
  provider_.reset();
  token_.flags |= CKF_WRITE_PROTECTED;
  Open();
  EXPECT_THAT(capabilities_.detail, HasSubstr("write protected"));
  EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_EQ(ReasonOf(Create().status()), Reason::kHardwareError);
}

TEST_F(Pkcs11SessionsTest, FailedSignature_ItsSessionIsNotUsedAgain) {
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

TEST_F(Pkcs11SessionsTest, PassingFaults_AreNotNoticedByTheCaller) {
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

TEST_F(Pkcs11SessionsTest, FaultsThatLast_AreReportedForReopening) {
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

TEST_F(Pkcs11SessionsTest, FaultsOfTheModule_AreReportedAtOnce) {
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

TEST_F(Pkcs11SessionsTest, SessionsLost_TheKeyIsFoundAgain) {
  Open();
  const CreatedKey key = Made();
  ASSERT_EQ(Sign(key), kSuccess);
  module_.LoseSessions();
  EXPECT_EQ(Sign(key), kSuccess);
  module_.OnNext("C_SignInit", [this] { module_.LoseSessions(); });
  EXPECT_EQ(Sign(key), kSuccess) << "in the middle";
}

TEST_F(Pkcs11SessionsTest, TokenRemoved_IsAbsentUntilItIsBackInWhateverSlot) {
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

TEST_F(Pkcs11SessionsTest, TokenMovesToAnotherSlotWhileOpen_IsFollowed) {
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

// ---- CKA_ALWAYS_AUTHENTICATE

TEST_F(Pkcs11SessionsTest, KeyThatAsksEachTime_IsAuthenticatedEachTime) {
  token_.always_authenticate = true;
  Open();
  const CreatedKey key = Made();
  token_.pins_tried.clear();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Sign(key), kSuccess);
  EXPECT_THAT(token_.pins_tried, ElementsAre("+1234", "+1234", "+1234"));
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11SessionsTest, KeyThatAsksEachTimeAndAPinThatIsWrongByNow_IsTriedOnceEver) {
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

TEST_F(Pkcs11SessionsTest, KeyThatAsksEachTimeAndATokenThatWouldLock_IsNotOfferedAPin) {
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
