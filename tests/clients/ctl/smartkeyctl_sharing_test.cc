// SPDX-License-Identifier: Apache-2.0
#include "gmock/gmock.h"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

// Who else may use a registration: share, unshare, explain, and what show says of it.
namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using SharingTest = SmartkeyctlTest;

TEST_F(SharingTest, ShareSaysWhatHoldsNow) {
  const Outcome outcome = Ctl({"share", "mercy", "user:bob"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("Shared with user:bob: token until 2027-01-01"));
  EXPECT_EQ(daemon_.share().registration(), "mercy");
  EXPECT_EQ(daemon_.share().principal(), "user:bob");
  EXPECT_THAT(daemon_.share().operations(), ElementsAre());  // the daemon's default
  EXPECT_FALSE(daemon_.share().has_valid_for());
}

TEST_F(SharingTest, ShareTakesOperationsScopesAndAnEnd) {
  const auto json =
      CtlJson({"share", "mercy", "user:bob+unit:viewer.service", "--allow", "token,dpop", "--scope",
               "openid", "--scope", "patient/*.rs", "--for", "90d"});
  EXPECT_THAT(daemon_.share().operations(), ElementsAre(v1::TOKEN, v1::DPOP));
  EXPECT_THAT(daemon_.share().scopes(), ElementsAre("openid", "patient/*.rs"));
  EXPECT_EQ(daemon_.share().valid_for().seconds(), 90 * 24 * 3600);
  EXPECT_EQ(json["share"]["principal"], "user:bob+unit:viewer.service");
  EXPECT_THAT(json["share"]["operations"], ElementsAre("TOKEN", "DPOP"));
  EXPECT_EQ(json["share"]["expires_at"], "2027-01-01T00:00:00Z");
}

TEST_F(SharingTest, ShareWithoutPrincipalOrWithWrongWords_SaysWhatToWrite) {
  const Outcome without = Ctl({"share", "mercy"});
  EXPECT_EQ(without.code, 2);
  EXPECT_THAT(without.err, HasSubstr("user:NAME"));
  const Outcome operation = Ctl({"share", "mercy", "user:bob", "--allow", "everything"});
  EXPECT_EQ(operation.code, 2);
  EXPECT_THAT(operation.err, HasSubstr("token, dpop, jwt, assertion or manage"));
  EXPECT_EQ(Ctl({"share", "mercy", "user:bob", "--for", "soon"}).code, 2);
  EXPECT_EQ(Ctl({"share", "mercy", "user:bob", "--for", "0"}).code, 2);
  EXPECT_EQ(Ctl({"share", "mercy", "--private", "--open"}).code, 2);
  EXPECT_EQ(Ctl({"share", "mercy", "user:bob", "--private"}).code, 2);
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("ShareRegistration")));
}

TEST_F(SharingTest, PrivateAndOpen_ChangeTheRegistration) {
  EXPECT_EQ(Ctl({"share", "mercy", "--private"}).code, 0);
  EXPECT_TRUE(daemon_.update().shares_only());
  EXPECT_EQ(Ctl({"share", "mercy", "--open"}).code, 0);
  EXPECT_TRUE(daemon_.update().has_shares_only());
  EXPECT_FALSE(daemon_.update().shares_only());
}

TEST_F(SharingTest, UnshareNamesWhom) {
  const Outcome outcome = Ctl({"unshare", "mercy", "group:clinic"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "No longer shared with group:clinic\n");
  EXPECT_EQ(daemon_.unshare().principal(), "group:clinic");
  EXPECT_EQ(CtlJson({"unshare", "mercy", "user:bob"})["unshared"], "user:bob");
}

TEST_F(SharingTest, ExplainTellsFactsAndSteps) {
  const Outcome outcome = Ctl({"explain", "mercy", "--as", "user:bob", "--as", "group:clinic"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out,
            "The caller:\n  user: bob (uid 1001)\n"
            "The registration:\n  share user:bob: allows token\n");
  EXPECT_THAT(daemon_.explain().principals(), ElementsAre("user:bob", "group:clinic"));
  const auto json = CtlJson({"explain", "mercy"});
  EXPECT_THAT(json["explanation"]["operations"], ElementsAre("TOKEN"));
  EXPECT_THAT(json["explanation"]["steps"], ElementsAre("share user:bob: allows token"));
}

TEST_F(SharingTest, ShowTellsTheOwnerWhoHasItAndAGranteeWhatHeMay) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    v1::Share& share = *registration.add_shares();
    share.mutable_principal()->set_text("user:bob");
    share.add_operations(v1::TOKEN);
    share.add_scopes("patient/*.rs");
    registration.set_shares_only(true);
  });
  const Outcome owner = Ctl({"show", "mercy"});
  EXPECT_THAT(owner.out, HasSubstr("user:bob: token for patient/*.rs"));
  EXPECT_THAT(owner.out, HasSubstr("even the owner's programs need a share"));
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.clear_shares();
    registration.set_relation(v1::SHARED);
    registration.add_operations(v1::TOKEN);
  });
  EXPECT_THAT(Ctl({"show", "mercy"}).out, HasSubstr("You may"));
}

}  // namespace
}  // namespace smartkey
