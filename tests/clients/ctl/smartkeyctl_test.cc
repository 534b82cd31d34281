// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST_F(SmartkeyctlTest, TokenPrintsTheTokenAndNothingElse) {
  const Outcome outcome = Ctl({"token", "mercy", "--scope", "patient/*.rs", "--min-valid", "5m"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, absl::StrCat(FakeDaemon::kToken, "\n"));
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_THAT(daemon_.token_request().scopes(), testing::ElementsAre("patient/*.rs"));
  EXPECT_EQ(daemon_.token_request().min_valid().seconds(), 300);
}

TEST_F(SmartkeyctlTest, TokenPrintsAHeaderLine) {
  EXPECT_EQ(Ctl({"token", "mercy", "--header"}).out,
            absl::StrCat("Authorization: Bearer ", FakeDaemon::kToken, "\n"));
}

TEST_F(SmartkeyctlTest, TokenSaysOnStderrWhatIsNotAsAskedFor) {
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) {
    token.set_source(v1::STALE_VALID);
    token.mutable_refresh_error()->set_reason(v1::ErrorDetail::NO_NETWORK);
    token.set_scope_narrowed(true);
    token.set_min_valid_unmet(true);
  });
  const Outcome outcome = Ctl({"token", "mercy"});
  EXPECT_EQ(outcome.out, absl::StrCat(FakeDaemon::kToken, "\n"));
  EXPECT_THAT(outcome.err, HasSubstr("could not be renewed (NO_NETWORK)"));
  EXPECT_THAT(outcome.err, HasSubstr("less than was asked for: patient/*.rs"));
  EXPECT_THAT(outcome.err, HasSubstr("2100-01-01"));
}

TEST_F(SmartkeyctlTest, NoSecretIsOnStderrWhateverGrpcIsToldToTrace) {
  const std::vector<std::string> trace = {"GRPC_TRACE=all", "GRPC_VERBOSITY=DEBUG"};
  for (const Outcome& outcome :
       {Ctl({"token", "mercy"}, "", trace), Ctl({"assertion", "mercy"}, "", trace),
        Ctl({"--json", "token", "mercy"}, "", trace)}) {
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.err, Not(HasSubstr("7f3a")));
    EXPECT_THAT(outcome.err, IsEmpty());
  }
}

TEST_F(SmartkeyctlTest, AssertionAndJwksArePrinted) {
  EXPECT_EQ(Ctl({"assertion", "mercy"}).out, absl::StrCat(FakeDaemon::kAssertion, "\n"));
  EXPECT_EQ(nlohmann::json::parse(Ctl({"jwks", "mercy"}).out)["keys"][0]["kid"], "thumb-1");
  EXPECT_EQ(CtlJson({"jwks", "mercy"})["jwks"]["keys"][0]["kid"], "thumb-1");
  EXPECT_EQ(CtlJson({"assertion", "mercy"})["client_id"], "dyn-1");
}

TEST_F(SmartkeyctlTest, ListIsATable) {
  EXPECT_EQ(Ctl({"list"}).out,
            "NAME     STATE    SERVER  APP                 NOTE\n"
            "mercy    working  mercy   org.example.viewer  Mum\n"
            "mercy-2  working  mercy   org.example.viewer  shared by alice\n");
  EXPECT_EQ(CtlJson({"list"})["registrations"].size(), 2u);
}

TEST_F(SmartkeyctlTest, ListIntoAPipe_NothingIsCut) {
  const std::string app = "org.example." + std::string(120, 'x');
  daemon_.EditRegistration([&app](v1::Registration& registration) { registration.set_app(app); });
  EXPECT_THAT(Ctl({"list"}).out, HasSubstr(app + "  Mum\n"));
}

TEST_F(SmartkeyctlTest, ListAllNamesOwners) {
  daemon_.EditRegistration(
      [](v1::Registration& registration) { registration.set_relation(v1::ADMINISTERED); });
  EXPECT_THAT(Ctl({"list", "--all"}).out, HasSubstr("alice/mercy"));
}

TEST_F(SmartkeyctlTest, ShowHasTheKeyAndItsAttributes) {
  EXPECT_EQ(Ctl({"show", "mercy"}).out,
            "Name:            mercy\n"
            "Id:              r-1\n"
            "Label:           Mum\n"
            "Owner:           alice\n"
            "State:           working (ACTIVE)\n"
            "App:             org.example.viewer\n"
            "Server:          mercy\n"
            "FHIR base:       https://ehr.example.com/fhir\n"
            "Token endpoint:  https://ehr.example.com/token\n"
            "Scopes:          launch/patient patient/*.rs\n"
            "Patient:         p-7\n"
            "Enrolled:        2026-01-01 00:00:00 UTC\n"
            "Generation:      1\n"
            "Client id:       dyn-1\n"
            "Key:             ES384 in TPM\n"
            "Thumbprint:      thumb-1\n"
            "Key attributes:  fixedtpm sign !decrypt\n");
  EXPECT_EQ(CtlJson({"show", "mercy"})["registration"]["generation"]["key"]["provider"], "TPM");
}

TEST_F(SmartkeyctlTest, ShowAndListSayWhatTheOwnerShouldKnow) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.set_state(v1::CONTEXT_CHANGED);
    registration.set_other_patient("p-8");
    registration.set_other_fhir_user("Patient/p-8");
    registration.add_warnings(v1::MAYBE_SUPERSEDED);
    registration.mutable_cause()->set_reason(v1::ErrorDetail::REFUSED_BY_SERVER);
    registration.mutable_cause()->set_remedy("renew; otherwise wait, next try 15:07");
    registration.mutable_next_attempt_at()->set_seconds(1'800'000'000);
  });
  const std::string shown = Ctl({"show", "mercy"}).out;
  for (const char* part : {"p-7", "p-8", "younger", "next try 15:07", "Next attempt"}) {
    EXPECT_THAT(shown, HasSubstr(part));
  }
  EXPECT_THAT(Ctl({"list"}).out, HasSubstr("Mum; MAYBE_SUPERSEDED\n"));
  const nlohmann::json registration = CtlJson({"show", "mercy"})["registration"];
  EXPECT_EQ(registration["other_patient"], "p-8");
  EXPECT_EQ(registration["other_fhir_user"], "Patient/p-8");
}

TEST_F(SmartkeyctlTest, ARejectedTokenIsReportedFromStdinAndShownNowhere) {
  const std::string token = absl::StrCat(FakeDaemon::kToken, "\n");
  const Outcome outcome = Ctl({"report-rejected", "mercy"}, token);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Dropped; a new one is being fetched.\n");
  EXPECT_EQ(daemon_.rejected().access_token(), FakeDaemon::kToken);
  EXPECT_EQ(daemon_.rejected().registration(), "mercy");
  const Outcome other = Ctl({"--json", "report-rejected", "mercy"}, "another\n");
  EXPECT_EQ(nlohmann::json::parse(other.out),
            (nlohmann::json{{"version", 1}, {"dropped", false}, {"refreshing", false}}));
  EXPECT_EQ(Ctl({"report-rejected", "mercy"}, "\n").code, 2);
}

TEST_F(SmartkeyctlTest, RenewIsForTheSamePatient) {
  auto child = Start({"renew", "mercy", "--no-browser"});
  ASSERT_TRUE(daemon_.WaitForCall("WatchEnrollment"));
  EXPECT_EQ(daemon_.begin().renews(), "r-1");
  EXPECT_FALSE(daemon_.begin().new_patient());
}

TEST_F(SmartkeyctlTest, RenewTakesANewPatientWhenTold) {
  auto child = Start({"renew", "mercy", "--no-browser", "--new-patient"});
  ASSERT_TRUE(daemon_.WaitForCall("WatchEnrollment"));
  EXPECT_EQ(daemon_.begin().renews(), "r-1");
  EXPECT_TRUE(daemon_.begin().new_patient());
}

TEST_F(SmartkeyctlTest, KeysHaveWhatTheHardwareSaysOfThem) {
  EXPECT_EQ(Ctl({"keys"}).out,
            "Registration:  mercy (generation 1)\n"
            "State:         working\n"
            "Key:           ES384 in TPM\n"
            "Thumbprint:    thumb-1\n"
            "Attributes:    fixedtpm sign !decrypt\n");
  EXPECT_EQ(CtlJson({"keys"})["keys"][0]["attributes"]["fixedtpm"], true);
}

TEST_F(SmartkeyctlTest, KeysAllShowsWhatTheTokenStoresAndNobodyNeeds) {
  const std::string out = Ctl({"keys", "--all"}).out;
  EXPECT_THAT(out, HasSubstr("mercy (generation 1)"));
  EXPECT_THAT(out, HasSubstr("that neither a registration nor the audit log needs:\n  "
                             "smartkeyd:i-1:reg-9:2\n    id 0a0b\n"));
  EXPECT_THAT(out, Not(HasSubstr("smartkeyd:i-1:reg-1:1")));
  EXPECT_THAT(out, HasSubstr("2 keys of this smartkeyd, 5 of others"));
  const auto json = CtlJson({"keys", "--all"});
  EXPECT_EQ(json["stored"]["keys"][1]["stray"], true);
  EXPECT_EQ(json["stored"]["of_other_instances"], 5);
}

TEST_F(SmartkeyctlTest, StrayKeysAreRemovedByIdOrAllAfterAYes) {
  EXPECT_EQ(Ctl({"keys", "--remove-stray", "0A0B", "--yes"}).out,
            "Removed smartkeyd:i-1:reg-9:2\n");
  EXPECT_EQ(CtlJson({"keys", "--remove-stray", "all", "--yes"})["removed"][0]["id"], "0a0b");
  EXPECT_THAT(Ctl({"keys", "--remove-stray", "ff", "--yes"}).err, HasSubstr("no stray keys"));
}

TEST_F(SmartkeyctlTest, StrayKeyNotConfirmedOrBadlyNamed_NothingIsAsked) {
  for (const char* id : {"0a0b", "all", "xyz", "0a0", ""}) {
    const auto result = Ctl({"keys", "--remove-stray", id});
    EXPECT_EQ(result.code, 2) << id;
    EXPECT_EQ(result.out, "") << id;
  }
  EXPECT_THAT(daemon_.calls(), Not(Contains("RemoveStrayKeys")));
}

TEST_F(SmartkeyctlTest, ServersAppsStatusAndVersionAreShown) {
  EXPECT_EQ(Ctl({"servers"}).out,
            "NAME   FHIR BASE                     PROFILE  APPS                STATE\n"
            "mercy  https://ehr.example.com/fhir  smart    org.example.viewer  REFUSING_ALL\n");
  EXPECT_THAT(Ctl({"apps"}).out, HasSubstr("http://127.0.0.1/callback"));
  const std::string status = Ctl({"status"}).out;
  EXPECT_THAT(status, HasSubstr("READY, TPM"));
  EXPECT_THAT(status, HasSubstr("4711, running for 1h1m1s"));
  EXPECT_THAT(status, HasSubstr("x.toml:7: unknown key"));
  EXPECT_THAT(status, HasSubstr("2026-01-01 00:00:00 UTC"));
  EXPECT_THAT(status, HasSubstr("2100-01-01 00:00:00 UTC"));
  EXPECT_THAT(status, HasSubstr("firmware 1.2"));
  EXPECT_THAT(status, HasSubstr("2 waiting, room for 64"));
  EXPECT_THAT(status, HasSubstr("1 operations were given up"));
  EXPECT_EQ(CtlJson({"status"})["hardware"]["next_attempt_at"], "2100-01-01T00:00:00Z");
  EXPECT_THAT(Ctl({"version"}).out, HasSubstr("smartkeyd 9.8.7"));
  EXPECT_EQ(CtlJson({"servers"})["servers"][0]["name"], "mercy");
  EXPECT_EQ(CtlJson({"servers"})["servers"][0]["refusing_all"], true);
  EXPECT_EQ(CtlJson({"apps"})["apps"][0]["id"], "org.example.viewer");
  EXPECT_EQ(CtlJson({"status"})["registrations"]["ACTIVE"], 3);
  EXPECT_EQ(CtlJson({"version"})["daemon_version"], "9.8.7");
}

TEST_F(SmartkeyctlTest, StatusSaysUntilWhenNothingIsSentToAServer) {
  EXPECT_THAT(Ctl({"status"}).out, Not(HasSubstr("Nothing is sent")));
  daemon_.EditStatus([](v1::GetStatusResponse& status) {
    v1::ServerStatus& server = *status.add_servers();
    server.set_name("grace");
    server.set_state(v1::ServerStatus::FAILING);
    server.mutable_next_attempt_at()->set_seconds(4'102'444'800);
  });
  EXPECT_THAT(Ctl({"status"}).out,
              HasSubstr("\nNothing is sent to grace before 2100-01-01 00:00:00 UTC.\n"));
}

TEST_F(SmartkeyctlTest, StatusSaysInWordsWhyTheHardwareIsNotReady) {
  daemon_.EditStatus([](v1::GetStatusResponse& status) {
    status.mutable_hardware()->mutable_hardware()->set_state(v1::ABSENT);
    v1::ErrorDetail& cause = *status.mutable_hardware()->mutable_hardware()->mutable_cause();
    cause.set_reason(v1::ErrorDetail::HARDWARE_ABSENT);
    cause.set_remedy("have it plugged in");
    status.mutable_hardware()->set_problem("/dev/tpmrm0: no such device");
  });
  EXPECT_THAT(Ctl({"status"}).out, HasSubstr("problem:       /dev/tpmrm0: no such device\n"));
  EXPECT_EQ(CtlJson({"status"})["hardware"]["problem"], "/dev/tpmrm0: no such device");
}

TEST_F(SmartkeyctlTest, TpmProvisionReadsThePasswordFromAFileOrStdinOnly) {
  Outcome outcome = Ctl({"tpm", "provision"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("is persistent now"));
  EXPECT_THAT(outcome.out, HasSubstr("0x81000001"));
  EXPECT_THAT(outcome.out, HasSubstr("000bcafe"));
  EXPECT_EQ(daemon_.provision().owner_password(), "");

  outcome = Ctl({"tpm", "provision", "--owner-password-file", "-"}, " fake owner password \n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(daemon_.provision().owner_password(), " fake owner password ");
  EXPECT_THAT(outcome.out + outcome.err, Not(HasSubstr("fake owner")));

  const std::string file = dir_.File("password");
  std::ofstream(file) << "from-the-file";
  EXPECT_EQ(CtlJson({"tpm", "provision", "--owner-password-file", file})["handle"], "0x81000001");
  EXPECT_EQ(daemon_.provision().owner_password(), "from-the-file");

  EXPECT_EQ(Ctl({"tpm", "provision", "--owner-password-file", "-"}, "\n").code, 2);
  EXPECT_EQ(Ctl({"tpm", "provision", "--owner-password-file", dir_.File("none")}).code, 2);
  EXPECT_EQ(Ctl({"tpm", "provision", "a-password"}).code, 2) << "no way to say it in argv";
  daemon_.FailWith(WireError(Reason::kTpmOwnerAuthRequired));
  outcome = Ctl({"tpm", "provision"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("--owner-password-file"));
}

TEST_F(SmartkeyctlTest, DeleteNeedsAWordFromSomebody) {
  Outcome outcome = Ctl({"delete", "mercy"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("use --yes"));
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("DeleteRegistration")));
  outcome = Ctl({"delete", "alice/mercy", "--yes"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "Deleted r-1\n");
  EXPECT_EQ(
      outcome.err,
      "The server's portal may still list the app, which cannot get tokens any more; remove it "
      "there: https://ehr.example.com/apps\n");
}

TEST_F(SmartkeyctlTest, TheExampleOfTheLibrarysReadmeWorks) {
  ChildProcess works({README_EXAMPLE}, {"SMARTKEY_SOCKET=" + daemon_.path()});
  EXPECT_EQ(works.Wait(), 0) << works.err();
  EXPECT_THAT(works.out(), StartsWith("https://ehr.example.com/fhir until 2100-01-01"));
  ChildProcess fails({README_EXAMPLE}, {"SMARTKEY_SOCKET=" + dir_.File("other.sock")});
  EXPECT_EQ(fails.Wait(), 6);
  EXPECT_THAT(fails.err(), HasSubstr("systemctl start smartkeyd.service"));
}

// ---- Errors.

TEST_F(SmartkeyctlTest, EachKindOfErrorHasItsExitCode) {
  const std::vector<std::pair<Reason, int>> cases = {
      {Reason::kInternal, 1},     {Reason::kRegistrationNotFound, 1}, {Reason::kInvalidArgument, 2},
      {Reason::kNotPermitted, 3}, {Reason::kShareLacksScope, 3},      {Reason::kReauthRequired, 4},
      {Reason::kTpmLockout, 4},   {Reason::kServerBusy, 5},           {Reason::kRateLimited, 5},
  };
  for (const auto& [reason, code] : cases) {
    daemon_.FailWith(WireError(reason));
    const Outcome outcome = Ctl({"token", "mercy"});
    EXPECT_EQ(outcome.code, code) << ReasonName(reason);
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_EQ(outcome.err,
              absl::StrCat("smartkeyctl: refused by the fake\n  ", RowFor(reason).remedy, "\n"));
  }
}

TEST_F(SmartkeyctlTest, AnotherUsersRegistrationIsJustNotThere) {
  const Outcome outcome = Ctl({"token", "stranger"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, StartsWith("smartkeyctl: no such registration\n"));
}

TEST_F(SmartkeyctlTest, RetryAfterIsSaid) {
  daemon_.FailWith(
      WireError(WithRetryAfter(MakeError(Reason::kServerBusy, "busy"), absl::Seconds(90))));
  EXPECT_THAT(Ctl({"token", "mercy"}).err, HasSubstr("try again in 1m30s"));
}

TEST_F(SmartkeyctlTest, ADaemonThatIsNotThereIsExitCodeSix) {
  ChildProcess stopped({SMARTKEYCTL_BINARY, "list"},
                       {"SMARTKEY_SOCKET=" + dir_.File("other.sock")});
  EXPECT_EQ(stopped.Wait(), 6);
  EXPECT_THAT(stopped.err(), HasSubstr("is not running"));
  ChildProcess absent({SMARTKEYCTL_BINARY, "list"}, {"SMARTKEY_SOCKET=/nonexistent-directory/s"});
  EXPECT_EQ(absent.Wait(), 6);
  EXPECT_THAT(absent.err(), HasSubstr("there is no smartkeyd"));
}

TEST_F(SmartkeyctlTest, TextOfServersCannotSteerTheTerminal) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.set_label(
        "a\x1b]0;x\x07"
        "b");
    registration.set_fhir_base("https://x/\x1b[2J");
  });
  for (const char* command : {"list", "show"}) {
    const std::string name = command == std::string("show") ? "mercy" : "--json";
    const std::string out = Ctl({command, name}).out;
    EXPECT_THAT(out, Not(HasSubstr("\x1b"))) << command;
    EXPECT_THAT(out, Not(HasSubstr("\x07"))) << command;
  }
  EXPECT_THAT(Ctl({"list"}).out, Not(HasSubstr("\x1b")));
}

TEST_F(SmartkeyctlTest, AnOutputThatCannotBeWrittenIsAFailure) {
  for (const char* command : {"token mercy", "list"}) {
    ChildProcess child(
        {"/bin/sh", "-c", absl::StrCat("exec \"$0\" --socket \"$1\" ", command, " > /dev/full"),
         SMARTKEYCTL_BINARY, daemon_.path()},
        {});
    EXPECT_EQ(child.Wait(), 1) << command;
    EXPECT_THAT(child.err(), HasSubstr("cannot write")) << command;
  }
}

// ---- Enrolling.

}  // namespace
}  // namespace smartkey
