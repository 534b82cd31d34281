// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_uri.h"

#include <string>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "tests/fakes/fake_pkcs11_module.h"

namespace smartkey {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Pkcs11Uri, TokenAttributes_AreRead) {
  const absl::StatusOr<Pkcs11Uri> uri = Pkcs11Uri::Parse(
      "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=0b1c;token=my%20clinic");
  ASSERT_TRUE(uri.ok()) << uri.status();
  EXPECT_EQ(uri->token.label, "my clinic");
  EXPECT_EQ(uri->token.serial, "0b1c");
  EXPECT_EQ(uri->token.model, "SoftHSM v2");
  EXPECT_EQ(uri->token.manufacturer, "SoftHSM project");
  EXPECT_EQ(uri->pin_file, "");
}

TEST(Pkcs11Uri, PinSource_IsAFileUriOrAPath) {
  EXPECT_EQ(Pkcs11Uri::Parse("pkcs11:token=a?pin-source=/etc/pin")->pin_file, "/etc/pin");
  EXPECT_EQ(Pkcs11Uri::Parse("pkcs11:token=a?pin-source=file:/etc/pin")->pin_file, "/etc/pin");
  EXPECT_EQ(Pkcs11Uri::Parse("pkcs11:token=a?pin-source=file:///etc/my%20pin")->pin_file,
            "/etc/my pin");
  EXPECT_EQ(Pkcs11Uri::Parse("pkcs11:token=a?pin-source=file://localhost/etc/pin")->pin_file,
            "/etc/pin");
  for (const char* source :
       {"%7Ccat%20/etc/pin", "pin", "file:pin", "http://host/pin", "file://host/pin"}) {
    const auto uri = Pkcs11Uri::Parse(std::string("pkcs11:token=a?pin-source=") + source);
    EXPECT_EQ(ReasonOf(uri.status()), Reason::kConfigInvalid) << source;
  }
}

TEST(Pkcs11Uri, WhatCannotSayWhichToken_IsRefusedByName) {
  const auto message = [](const std::string& text) {
    const absl::Status status = Pkcs11Uri::Parse(text).status();
    EXPECT_EQ(ReasonOf(status), Reason::kConfigInvalid) << text;
    return std::string(status.message());
  };
  EXPECT_THAT(message("pkcs11:slot-id=3"), HasSubstr("slots change"));
  EXPECT_THAT(message("pkcs11:token=a;slot-description=left"), HasSubstr("slots change"));
  EXPECT_THAT(message("pkcs11:token=a;slot-manufacturer=acme"), HasSubstr("slots change"));
  EXPECT_THAT(message("pkcs11:token=a;object=key"), HasSubstr("names an object"));
  EXPECT_THAT(message("pkcs11:token=a;id=%01"), HasSubstr("names an object"));
  EXPECT_THAT(message("pkcs11:token=a;type=private"), HasSubstr("names an object"));
  EXPECT_THAT(message("pkcs11:token=a;library-description=x"), HasSubstr("names a library"));
  EXPECT_THAT(message("pkcs11:token=a;library-version=2.1"), HasSubstr("names a library"));
  EXPECT_THAT(message("pkcs11:token=a?module-path=/x.so"), HasSubstr("names a library"));
  EXPECT_THAT(message("pkcs11:token=a?module-name=x"), HasSubstr("names a library"));
  EXPECT_THAT(message("pkcs11:tokn=a"), HasSubstr("not known"));
}

TEST(Pkcs11Uri, PinInTheUri_IsRefusedAndNotRepeated) {
  for (const char* text :
       {"pkcs11:token=a?pin-value=s3cret", "pkcs11:token=%zz?pin-value=s3cret", "s3cret", ""}) {
    const absl::Status status = Pkcs11Uri::Parse(text).status();
    EXPECT_EQ(ReasonOf(status), Reason::kConfigInvalid) << text;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("s3cret")));
  }
}

TEST(Pkcs11Uri, TextAfterANul_IsNotLost) {
  EXPECT_FALSE(Pkcs11Uri::Parse(std::string("pkcs11:token=a\0;slot-id=1", 25)).ok());
}

TEST(Pkcs11Uri, Attributes_AreComparedInFull) {
  const Pkcs11TokenIdentity token = {
      .label = "clinic", .manufacturer = "m", .model = "f", .serial = "01"};
  EXPECT_TRUE(Pkcs11Uri::Parse("pkcs11:")->Matches(token));
  EXPECT_TRUE(Pkcs11Uri::Parse("pkcs11:token=clinic;serial=01")->Matches(token));
  EXPECT_FALSE(Pkcs11Uri::Parse("pkcs11:token=clini")->Matches(token));
  EXPECT_FALSE(Pkcs11Uri::Parse("pkcs11:token=clinic2")->Matches(token));
  EXPECT_FALSE(Pkcs11Uri::Parse("pkcs11:token=clinic;serial=1")->Matches(token));
  EXPECT_FALSE(Pkcs11Uri::Parse("pkcs11:token=clinic;model=g")->Matches(token));
  EXPECT_FALSE(Pkcs11Uri::Parse("pkcs11:token=clinic;manufacturer=n")->Matches(token));
}

class FindTokenTest : public testing::Test {
 protected:
  void SetUp() override { module_.initialized = true; }

  absl::StatusOr<Pkcs11Token> Find(const std::string& uri) {
    return FindToken(*FakePkcs11::Functions(), Pkcs11Uri::Parse(uri).value());
  }
  FakePkcs11Token& Add(const std::string& label, const std::string& serial) {
    FakePkcs11Token& token = module_.AddToken();
    token.label = label;
    token.serial = serial;
    return token;
  }

  FakePkcs11 module_;
};

TEST_F(FindTokenTest, TheOneThatFits_IsFoundWhereverItIs) {
  Add("other", "01");
  Add("clinic", "02");
  const absl::StatusOr<Pkcs11Token> token = Find("pkcs11:token=clinic");
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->slot, 11u);
  EXPECT_EQ(token->identity.serial, "02");
}

TEST_F(FindTokenTest, PaddingOfEitherKind_IsTrimmed) {
  Add("with blanks inside", "01").padding = ' ';
  Add("nul", "02").padding = '\0';
  EXPECT_EQ(Find("pkcs11:token=with%20blanks%20inside")->identity.label, "with blanks inside");
  EXPECT_EQ(Find("pkcs11:token=nul")->identity.serial, "02");
  EXPECT_EQ(Find("pkcs11:serial=02")->identity.label, "nul");
}

TEST_F(FindTokenTest, LabelOfFullLength_HasNoPadding) {
  const std::string label(32, 'x');
  Add(label, "01");
  EXPECT_EQ(Find("pkcs11:token=" + label)->identity.label, label);
}

TEST_F(FindTokenTest, None_SaysWhatWasLookedForAndWhatIsThere) {
  Add("other", "0A");
  const absl::Status status = Find("pkcs11:token=clinic;serial=7").status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent);
  EXPECT_THAT(std::string(status.message()), HasSubstr("label 'clinic', serial '7'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("label 'other', serial '0A'"));
}

TEST_F(FindTokenTest, MoreSlotsThanAnyModuleHas_AreNotAllocated) {
  CK_FUNCTION_LIST functions = *FakePkcs11::Functions();
  functions.C_GetSlotList = [](CK_BBOOL, CK_SLOT_ID*, CK_ULONG* count) -> CK_RV {
    *count = CK_UNAVAILABLE_INFORMATION;
    return CKR_OK;
  };
  EXPECT_EQ(ReasonOf(FindToken(functions, Pkcs11Uri()).status()), Reason::kHardwareError);
}

TEST_F(FindTokenTest, NoneAtAll_SaysSo) {
  const absl::Status status = Find("pkcs11:token=clinic").status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent);
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is none"));
}

TEST_F(FindTokenTest, Several_AreNamedAndRefused) {
  Add("clinic", "01");
  Add("clinic", "02");
  const absl::Status status = Find("pkcs11:token=clinic").status();
  EXPECT_EQ(ReasonOf(status), Reason::kConfigInvalid);
  EXPECT_THAT(std::string(status.message()), HasSubstr("serial '01'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("serial '02'"));
  EXPECT_TRUE(Find("pkcs11:token=clinic;serial=02").ok());
}

TEST_F(FindTokenTest, UninitializedTokens_AreNotCounted) {
  Add("clinic", "01").flags &= ~CKF_TOKEN_INITIALIZED;
  EXPECT_EQ(ReasonOf(Find("pkcs11:token=clinic").status()), Reason::kHardwareAbsent);
  Add("clinic", "02");
  EXPECT_EQ(Find("pkcs11:token=clinic")->identity.serial, "02");
}

TEST_F(FindTokenTest, NamesThatWriteLines_AreEscaped) {
  Add("evil\nline", "01");
  EXPECT_THAT(std::string(Find("pkcs11:token=clinic").status().message()), Not(HasSubstr("\n")));
}

TEST_F(FindTokenTest, BrokenNeighbour_IsNoReasonToFail) {
  Add("broken", "01");
  Add("clinic", "02");
  module_.FailNext("C_GetTokenInfo", CKR_DEVICE_ERROR);
  EXPECT_TRUE(Find("pkcs11:token=clinic").ok());
  // But it may be the one.
  module_.FailNext("C_GetTokenInfo", CKR_DEVICE_ERROR);
  EXPECT_EQ(ReasonOf(Find("pkcs11:token=broken").status()), Reason::kHardwareDegraded);
}

TEST_F(FindTokenTest, TokenArrivesWhileAsking_IsAskedAgain) {
  Add("clinic", "01");
  // After the count was told.
  module_.FailNext("C_GetSlotList", CKR_BUFFER_TOO_SMALL, 1, 1);
  EXPECT_TRUE(Find("pkcs11:token=clinic").ok());
}

}  // namespace
}  // namespace smartkey
