// SPDX-License-Identifier: Apache-2.0
#include <sstream>
#include <string>
#include <vector>

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

TEST_F(SharingTest, ListsBeforeThePositionals_TakeOnlyTheirOwnWord) {
  const std::vector<std::vector<std::string>> typed = {
      {"share", "--allow", "token,dpop", "--scope", "openid", "mercy", "user:bob"},
      {"share", "mercy", "--allow", "token,dpop", "--scope", "openid", "user:bob"},
      {"share", "--allow", "token", "--allow", "dpop", "--scope", "openid", "mercy", "user:bob"},
  };
  for (const auto& args : typed) {
    const Outcome outcome = Ctl(args);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(daemon_.share().registration(), "mercy");
    EXPECT_EQ(daemon_.share().principal(), "user:bob");
    EXPECT_THAT(daemon_.share().operations(), ElementsAre(v1::TOKEN, v1::DPOP));
    EXPECT_THAT(daemon_.share().scopes(), ElementsAre("openid"));
  }
  EXPECT_EQ(Ctl({"request", "--scope", "openid", "alice/mercy"}).code, 0);
  EXPECT_EQ(daemon_.request_access().registration(), "mercy");
  EXPECT_EQ(Ctl({"approve", "--allow", "token", "q-1"}).code, 0);
  EXPECT_EQ(daemon_.resolve().request_id(), "q-1");
  EXPECT_EQ(Ctl({"explain", "--as", "user:bob", "mercy"}).code, 0);
  EXPECT_THAT(daemon_.explain().principals(), ElementsAre("user:bob"));
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

TEST_F(SharingTest, RequestWaitsAndSaysWhatTheOwnerSaid) {
  const Outcome yes = Ctl({"request", "alice/mercy", "--scope", "openid", "--reason", "my viewer"});
  EXPECT_EQ(yes.code, 0);
  EXPECT_EQ(yes.out, "r-1\n");
  EXPECT_THAT(yes.err, HasSubstr("Asked alice: request request-1"));
  EXPECT_THAT(yes.err, HasSubstr("alice has said yes"));
  EXPECT_EQ(daemon_.request_access().owner(), "alice");
  EXPECT_EQ(daemon_.request_access().registration(), "mercy");
  EXPECT_EQ(daemon_.request_access().reason(), "my viewer");
  EXPECT_THAT(daemon_.request_access().scopes(), ElementsAre("openid"));

  daemon_.Decide(v1::AccessRequest::DENIED);
  const Outcome no = Ctl({"request", "alice/mercy"});
  EXPECT_EQ(no.code, 3);
  EXPECT_THAT(no.err, HasSubstr("alice has said no"));
  EXPECT_EQ(Ctl({"request", "alice/mercy", "--no-wait"}).code, 0);
  daemon_.Decide(v1::AccessRequest::LAPSED);
  EXPECT_THAT(Ctl({"request", "alice/mercy"}).err, HasSubstr("not answered in 7 days"));
}

TEST_F(SharingTest, RequestByAppAndServer_AndWhatIsMissingIsSaid) {
  EXPECT_EQ(Ctl({"request", "--owner", "alice", "--app", "org.example.viewer", "--fhir-base",
                 "https://ehr.example/fhir", "--allow", "token,dpop"})
                .code,
            0);
  EXPECT_EQ(daemon_.request_access().app(), "org.example.viewer");
  EXPECT_EQ(daemon_.request_access().fhir_base(), "https://ehr.example/fhir");
  EXPECT_THAT(daemon_.request_access().operations(), ElementsAre(v1::TOKEN, v1::DPOP));
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"request"},
                                             {"request", "mercy"},
                                             {"request", "/mercy"},
                                             {"request", "--owner", "alice"},
                                             {"request", "alice/mercy", "--owner", "bob"}}) {
    EXPECT_EQ(Ctl(wrong).code, 2);
  }
}

TEST_F(SharingTest, RequestInJson_IsALineForEachAnswer) {
  const Outcome outcome = Ctl({"--json", "request", "alice/mercy"});
  std::istringstream lines(outcome.out);
  std::string first, second;
  ASSERT_TRUE(std::getline(lines, first) && std::getline(lines, second));
  EXPECT_EQ(nlohmann::json::parse(first)["answer"]["state"], "PENDING");
  EXPECT_EQ(nlohmann::json::parse(second)["answer"]["state"], "APPROVED");
  EXPECT_EQ(nlohmann::json::parse(second)["answer"]["registration_id"], "r-1");
}

TEST_F(SharingTest, RequestsShowWhoWantsWhatByTheRegistrationsName) {
  const Outcome outcome = Ctl({"requests"});
  EXPECT_EQ(outcome.code, 0);
  for (const char* part : {"request-1", "user:bob", "mercy", "token", "all", "for my viewer"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  EXPECT_THAT(outcome.err, HasSubstr("smartkeyctl approve ID"));
  const auto json = CtlJson({"requests"});
  EXPECT_EQ(json["requests"][0]["principal"], "user:bob");
  EXPECT_EQ(json["requests"][0]["registration_id"], "r-1");
}

TEST_F(SharingTest, ApproveAndDenySendTheDecision) {
  const Outcome yes = Ctl({"approve", "request-1", "--scope", "openid", "--for", "30d"});
  EXPECT_EQ(yes.code, 0);
  EXPECT_EQ(yes.out, "Shared with user:bob: token\n");
  EXPECT_EQ(daemon_.resolve().decision(), v1::ResolveAccessRequestRequest::APPROVE);
  EXPECT_EQ(daemon_.resolve().valid_for().seconds(), 30 * 24 * 3600);
  EXPECT_THAT(daemon_.resolve().scopes(), ElementsAre("openid"));
  EXPECT_THAT(Ctl({"deny", "request-1"}).out, HasSubstr("after a day"));
  EXPECT_EQ(daemon_.resolve().decision(), v1::ResolveAccessRequestRequest::DENY);
  EXPECT_THAT(Ctl({"deny", "request-1", "--always"}).out, HasSubstr("until you share it"));
  EXPECT_EQ(daemon_.resolve().decision(), v1::ResolveAccessRequestRequest::DENY_ALWAYS);
  EXPECT_EQ(CtlJson({"deny", "request-1"})["denied"], "request-1");
}

}  // namespace
}  // namespace smartkey
