// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_login.h"

#include <string>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "tests/fakes/fake_pkcs11_module.h"
#include "tests/hsm/pkcs11/temporary_directory.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Pkcs11LoginTest : public testing::Test {
 protected:
  Pkcs11LoginTest() : token_(module_.AddToken()) {
    module_.initialized = true;
    SetPin("1234");
  }

  void SetPin(const std::string& pin) { directory_.Write("pin", pin + "\n"); }
  // What a restarted daemon has.
  Pkcs11Login NewLogin() {
    return Pkcs11Login(
        {.pin_file = directory_ / "pin", .rejected_pin_file = directory_ / "record"});
  }
  // In a session of its own, so that the next login is one again.
  absl::Status LogIn(Pkcs11Login& login) {
    const Pkcs11Token token = FindToken(*FakePkcs11::Functions(), {}).value();
    Pkcs11Session session =
        Pkcs11Session::Open(*FakePkcs11::Functions(), token.slot, false).value();
    return login.LogIn(session, token);
  }
  Reason Restarted() {
    Pkcs11Login login = NewLogin();
    return ReasonOf(LogIn(login));
  }
  size_t tries() const { return token_.pins_tried.size(); }

  TemporaryDirectory directory_;
  FakePkcs11 module_;
  FakePkcs11Token& token_;
};

constexpr Reason kSuccess = Reason::kUnspecified;

TEST_F(Pkcs11LoginTest, RightPin_LogsInOnceAndLeavesNoRecord) {
  EXPECT_EQ(Restarted(), kSuccess);
  EXPECT_THAT(token_.pins_tried, ElementsAre("1234"));
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11LoginTest, PinFile_IsReadAtEachLogin) {
  Pkcs11Login login = NewLogin();
  EXPECT_TRUE(LogIn(login).ok());
  token_.pin = "5678";
  SetPin("5678");
  EXPECT_TRUE(LogIn(login).ok());
  EXPECT_THAT(token_.pins_tried, ElementsAre("1234", "5678"));
}

TEST_F(Pkcs11LoginTest, WrongPin_IsTriedOnceEver) {
  SetPin("wrong");
  Pkcs11Login login = NewLogin();
  const absl::Status status = LogIn(login);
  EXPECT_EQ(ReasonOf(status), Reason::kPinRejected);
  EXPECT_EQ(status.message(), "pkcs11 log in: wrong pin (CKR_PIN_INCORRECT 0xa0)");
  EXPECT_EQ(tries(), 1u);
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kPinRejected);
  EXPECT_EQ(Restarted(), Reason::kPinRejected);
  token_.flags &= ~CKF_USER_PIN_COUNT_LOW;  // somebody else logged in meanwhile
  EXPECT_EQ(Restarted(), Reason::kPinRejected);
  EXPECT_EQ(tries(), 1u);
}

TEST_F(Pkcs11LoginTest, ChangedPin_IsTried) {
  SetPin("wrong");
  EXPECT_EQ(Restarted(), Reason::kPinRejected);
  SetPin("1234");
  EXPECT_EQ(Restarted(), kSuccess);
  EXPECT_THAT(token_.pins_tried, ElementsAre("wrong", "1234"));
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11LoginTest, SamePinForAnotherToken_IsTried) {
  SetPin("5678");
  EXPECT_EQ(Restarted(), Reason::kPinRejected);
  token_.serial = "0002";
  token_.pin = "5678";
  EXPECT_EQ(Restarted(), kSuccess);
}

TEST_F(Pkcs11LoginTest, EachAnswerThatSaysWrong_IsRemembered) {
  for (const CK_RV answer : {CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE}) {
    module_.FailNext("C_Login", answer);
    EXPECT_EQ(Restarted(), Reason::kPinRejected);
    EXPECT_EQ(Restarted(), Reason::kPinRejected);
    EXPECT_EQ(tries(), 0u) << "only the planted answer was given";
    std::filesystem::remove(directory_ / "record");
  }
}

TEST_F(Pkcs11LoginTest, TokenThatWouldLock_IsLeftAlone) {
  const std::pair<CK_FLAGS, Reason> flags[] = {
      {CKF_USER_PIN_LOCKED, Reason::kPinLocked},
      {CKF_USER_PIN_FINAL_TRY, Reason::kPinFinalTry},
      {CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_COUNT_LOW, Reason::kPinFinalTry},
      {CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY, Reason::kPinLocked},
      {CKF_PROTECTED_AUTHENTICATION_PATH, Reason::kConfigInvalid},
      {CKF_USER_PIN_TO_BE_CHANGED, Reason::kPinRejected},
  };
  const CK_FLAGS usual = token_.flags;
  for (const auto& [flag, reason] : flags) {
    token_.flags = usual | flag;
    EXPECT_EQ(Restarted(), reason) << flag;
  }
  token_.flags = usual & ~CKF_USER_PIN_INITIALIZED;
  EXPECT_EQ(Restarted(), Reason::kPinMissing);
  EXPECT_EQ(module_.calls("C_Login"), 0);
  EXPECT_FALSE(directory_.Has("record"));
  token_.flags = usual;
  EXPECT_EQ(Restarted(), kSuccess) << "nothing of that was remembered against the pin";
}

TEST_F(Pkcs11LoginTest, NoPin_IsMissing) {
  Pkcs11Login none({.rejected_pin_file = directory_ / "record"});
  EXPECT_EQ(ReasonOf(LogIn(none)), Reason::kPinMissing);
  std::filesystem::remove(directory_ / "pin");
  EXPECT_EQ(Restarted(), Reason::kPinMissing);
  EXPECT_EQ(module_.calls("C_Login"), 0);
}

TEST_F(Pkcs11LoginTest, AlreadyLoggedIn_IsSuccessAndSaysNothingOfThePin) {
  module_.FailNext("C_Login", CKR_USER_ALREADY_LOGGED_IN);
  EXPECT_EQ(Restarted(), kSuccess);
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11LoginTest, AnswersThatAreNotAboutThePin_AreNotHeldAgainstIt) {
  const std::pair<CK_RV, Reason> answers[] = {
      {CKR_PIN_EXPIRED, Reason::kPinRejected},
      {CKR_PIN_LOCKED, Reason::kPinLocked},
      {CKR_USER_PIN_NOT_INITIALIZED, Reason::kPinMissing},
      {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, Reason::kHardwareError},
  };
  for (const auto& [answer, reason] : answers) {
    module_.FailNext("C_Login", answer);
    EXPECT_EQ(Restarted(), reason);
    EXPECT_FALSE(directory_.Has("record"));
  }
  EXPECT_EQ(Restarted(), kSuccess);
}

TEST_F(Pkcs11LoginTest, TheTry_IsOnDiskBeforeItIsMade) {
  std::string during;
  module_.OnNext("C_Login", [&] { during = directory_.Read("record"); });
  EXPECT_EQ(Restarted(), kSuccess);
  EXPECT_THAT(during, HasSubstr("\ntrying 1\n"));
}

// ---- A crash or a power cut leaves what was on disk at that moment.

TEST_F(Pkcs11LoginTest, CrashDuringALoginThatTheTokenCounted_IsARejection) {
  SetPin("wrong");
  std::string at_crash;
  module_.OnNext("C_Login", [&] { at_crash = directory_.Read("record"); });
  Restarted();
  directory_.Write("record", at_crash);
  ASSERT_TRUE(token_.flags & CKF_USER_PIN_COUNT_LOW);
  EXPECT_EQ(Restarted(), Reason::kPinRejected);
  token_.flags &= ~CKF_USER_PIN_COUNT_LOW;
  EXPECT_EQ(Restarted(), Reason::kPinRejected) << "now it is known";
  EXPECT_EQ(tries(), 1u);
}

TEST_F(Pkcs11LoginTest, CrashDuringALogin_TheRightPinWorksAfterwards) {
  std::string at_crash;
  module_.OnNext("C_Login", [&] { at_crash = directory_.Read("record"); });
  Restarted();
  directory_.Write("record", at_crash);
  EXPECT_EQ(Restarted(), kSuccess);
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(Pkcs11LoginTest, CrashesDuringLoginsAtATokenThatTellsNothing_AreTwoTries) {
  token_.counts_wrong_pins = false;
  SetPin("wrong");
  for (int crash = 0; crash < 5; ++crash) {
    std::string at_crash;
    module_.OnNext("C_Login", [&] { at_crash = directory_.Read("record"); });
    Restarted();
    if (!at_crash.empty()) directory_.Write("record", at_crash);
  }
  EXPECT_EQ(tries(), 2u);
  const absl::Status status = [&] {
    Pkcs11Login login = NewLogin();
    return LogIn(login);
  }();
  EXPECT_EQ(ReasonOf(status), Reason::kPinRejected);
}

TEST_F(Pkcs11LoginTest, AnswersThatSayNothing_AreTwoTries) {
  // Some tokens have one code for everything.
  module_.FailNext("C_Login", CKR_GENERAL_ERROR, 10);
  EXPECT_EQ(Restarted(), Reason::kHardwareDegraded);
  EXPECT_EQ(Restarted(), Reason::kHardwareDegraded);
  Pkcs11Login login = NewLogin();
  const absl::Status status = LogIn(login);
  EXPECT_EQ(ReasonOf(status), Reason::kPinRejected);
  EXPECT_THAT(RemedyOf(status), HasSubstr("remove "));
  EXPECT_EQ(module_.calls("C_Login"), 2);
}

TEST_F(Pkcs11LoginTest, TokenThatDiesDuringLogins_DoesNotCountAgainstAPinThatWorkedBefore) {
  Pkcs11Login login = NewLogin();
  ASSERT_TRUE(LogIn(login).ok());
  module_.FailNext("C_Login", CKR_DEVICE_ERROR, 10);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kHardwareDegraded);
  EXPECT_TRUE(LogIn(login).ok());
}

TEST_F(Pkcs11LoginTest, TokenThatDiesDuringLogins_CountsAgainstAPinThatNeverWorked) {
  module_.FailNext("C_Login", CKR_DEVICE_ERROR, 10);
  Pkcs11Login login = NewLogin();
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kHardwareDegraded);
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kHardwareDegraded);
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kPinRejected);
}

TEST_F(Pkcs11LoginTest, RecordThatCannotBeWritten_NothingIsTried) {
  Pkcs11Login login(
      {.pin_file = directory_ / "pin", .rejected_pin_file = directory_ / "none/record"});
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kStoreUnavailable);
  EXPECT_EQ(module_.calls("C_Login"), 0);
}

TEST_F(Pkcs11LoginTest, WithoutARecordsPath_TheObjectRemembers) {
  SetPin("wrong");
  Pkcs11Login login({.pin_file = directory_ / "pin"});
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kPinRejected);
  EXPECT_EQ(ReasonOf(LogIn(login)), Reason::kPinRejected);
  EXPECT_EQ(tries(), 1u);
}

TEST_F(Pkcs11LoginTest, NoMessage_HoldsThePin) {
  SetPin("topsecret");
  Pkcs11Login login = NewLogin();
  testing::internal::CaptureStderr();
  for (const CK_RV answer : {CKR_PIN_INCORRECT, CKR_GENERAL_ERROR, CKR_PIN_LOCKED}) {
    std::filesystem::remove(directory_ / "record");
    module_.FailNext("C_Login", answer);
    EXPECT_THAT(LogIn(login).ToString(), Not(HasSubstr("topsecret")));
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr("topsecret")));
  EXPECT_THAT(directory_.Read("record"), Not(HasSubstr("topsecret")));
}

}  // namespace
}  // namespace smartkey
