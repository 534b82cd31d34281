// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

// What an owner does with registrations: suspend, resume, rotate, edit, watch, and see ends come.
namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class OwnerTest : public SmartkeyctlTest {
 protected:
  void EndsIn(absl::Duration left, v1::ExpectedEnd::Source source = v1::ExpectedEnd::PERSON) {
    daemon_.EditRegistration([&](v1::Registration& registration) {
      registration.mutable_expected_end()->mutable_time()->set_seconds(
          absl::ToUnixSeconds(absl::Now() + left));
      registration.mutable_expected_end()->set_source(source);
    });
  }
};

TEST_F(OwnerTest, SuspendNamesWhatChangedAndSaysWhy) {
  const Outcome outcome = Ctl({"suspend", "mercy", "--why", "lost laptop"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "Suspended r-1\n");
  EXPECT_EQ(daemon_.suspend().target().registration(), "mercy");
  EXPECT_EQ(daemon_.suspend().why(), "lost laptop");
  EXPECT_THAT(CtlJson({"suspend", "--all"})["suspended"], ElementsAre("r-1"));
  EXPECT_TRUE(daemon_.suspend().target().all());
  EXPECT_EQ(Ctl({"suspend", "--server", "mercy", "--admin"}).code, 0);
  EXPECT_EQ(daemon_.suspend().target().server(), "mercy");
  EXPECT_EQ(Ctl({"suspend", "--owner", "alice"}).code, 0);
  EXPECT_EQ(daemon_.suspend().target().owner(), "alice");
}

TEST_F(OwnerTest, SuspendedAlready_IsSaid) {
  daemon_.EditRegistration(
      [](v1::Registration& registration) { registration.mutable_suspended(); });
  const Outcome outcome = Ctl({"suspend", "mercy"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, HasSubstr("suspended already (mercy)"));
}

TEST_F(OwnerTest, ResumeNamesWhatAnAdministratorKeepsSuspended) {
  const Outcome outcome = Ctl({"resume", "--all"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "Resumed r-1\n");
  EXPECT_THAT(outcome.err, HasSubstr("by an administrator: r-2"));
  EXPECT_TRUE(daemon_.resume().target().all());
  const auto json = CtlJson({"resume", "mercy"});
  EXPECT_THAT(json["resumed"], ElementsAre("r-1"));
  EXPECT_THAT(json["still_suspended"], ElementsAre("r-2"));
}

TEST_F(OwnerTest, SuspendAndResumeWantExactlyOneTarget) {
  for (const char* command : {"suspend", "resume"}) {
    EXPECT_EQ(Ctl({command}).code, 2);
    EXPECT_EQ(Ctl({command, "mercy", "--all"}).code, 2);
    EXPECT_EQ(Ctl({command, "--server", "mercy", "--owner", "alice"}).code, 2);
  }
  EXPECT_THAT(daemon_.calls(), IsEmpty());
}

TEST_F(OwnerTest, RotateWhereItTakesALogin_NamesTheCommand) {
  daemon_.FailWith(WireError(Reason::kRotationNeedsBrowser));
  const Outcome outcome = Ctl({"rotate", "mercy", "--algorithm", "ES256"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("'smartkeyctl renew mercy'"));
  EXPECT_EQ(daemon_.rotate().algorithm(), "ES256");
  daemon_.FailWith(grpc::Status::OK);
  EXPECT_THAT(Ctl({"rotate", "mercy"}).out, HasSubstr("mercy"));
}

TEST_F(OwnerTest, WatchPrintsALineForEachThingThatHappens) {
  EndsIn(absl::Hours(24 * 6));
  const Outcome outcome = Ctl({"watch", "mercy"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(daemon_.watch().registration(), "mercy");
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u) << outcome.out;
  EXPECT_THAT(lines[0], EndsWith(" UTC  mercy  working"));
  EXPECT_THAT(lines[1], HasSubstr("mercy  ends within 7 days ("));
  EXPECT_THAT(lines[1], HasSubstr("'smartkeyctl renew mercy'"));
  EXPECT_THAT(lines[2], EndsWith("  mercy  gone"));
}

TEST_F(OwnerTest, WatchPrintsOneJsonObjectALine) {
  const Outcome outcome = Ctl({"--json", "watch"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 4u) << outcome.out;
  std::vector<nlohmann::json> events;
  for (const std::string& line : lines) {
    events.push_back(nlohmann::json::parse(line));
    EXPECT_EQ(events.back()["version"], 1);
  }
  EXPECT_EQ(events[0]["event"], "CURRENT");
  EXPECT_EQ(events[0]["registration_id"], "r-1");
  EXPECT_EQ(events[0]["registration"]["name"], "mercy");
  EXPECT_EQ(events[1]["event"], "SYNCED");
  EXPECT_FALSE(events[1].contains("registration_id"));
  EXPECT_EQ(events[2]["event"], "ENDING");
  EXPECT_EQ(events[2]["ending_days"], 7);
  EXPECT_EQ(events[3]["event"], "REMOVED");
  EXPECT_EQ(events[3]["registration_id"], "r-1");
  EXPECT_FALSE(events[3].contains("registration"));
}

TEST_F(OwnerTest, WatchTellsWhyItEnds) {
  daemon_.FailWith(WireError(Reason::kShuttingDown));
  EXPECT_EQ(Ctl({"watch"}).code, 5);
  const std::vector<std::string> lines =
      absl::StrSplit(Ctl({"--json", "watch"}).out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(nlohmann::json::parse(lines.back())["error"]["reason"], "SHUTTING_DOWN");
  EXPECT_EQ(Ctl({"watch", "mercy", "--all"}).code, 2);
}

TEST_F(OwnerTest, AnEndThatComesSoon_IsListedAndExitsFour) {
  EndsIn(absl::Hours(24 * 10));
  const Outcome outcome = Ctl({"list", "--ending", "14d"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.out, StartsWith("NAME"));
  EXPECT_THAT(outcome.out, HasSubstr("(as you said)"));
  EXPECT_THAT(outcome.err, HasSubstr("smartkeyctl renew"));
  const Outcome json = Ctl({"--json", "list", "--ending", "14d"});
  EXPECT_EQ(json.code, 4);
  EXPECT_EQ(nlohmann::json::parse(json.out)["registrations"][0]["expected_end"]["source"],
            "PERSON");
  // One that is over counts: somebody has to act all the more.
  EndsIn(-absl::Hours(24));
  EXPECT_EQ(Ctl({"list", "--ending", "14d"}).code, 4);
}

TEST_F(OwnerTest, NoEndComesSoon_ListsNothingAndExitsZero) {
  for (const bool known : {false, true}) {
    if (known) EndsIn(absl::Hours(24 * 15));
    const Outcome outcome = Ctl({"list", "--ending", "14d"});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, HasSubstr("within 14d"));
    EXPECT_THAT(CtlJson({"list", "--ending", "14d"})["registrations"], IsEmpty());
  }
  EXPECT_EQ(Ctl({"list", "--ending", "soon"}).code, 2);
}

TEST_F(OwnerTest, ShowTellsTheExpectedEndAndWhoSuspended) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.mutable_expected_end()->mutable_time()->set_seconds(1798761600);
    registration.mutable_expected_end()->set_source(v1::ExpectedEnd::EARLIER_GENERATIONS);
    v1::Suspension& suspended = *registration.mutable_suspended();
    suspended.mutable_by()->set_name("carol");
    suspended.set_by_administrator(true);
    suspended.set_why("incident 7");
    suspended.mutable_since()->set_seconds(1767225600);
  });
  const std::string shown = Ctl({"show", "mercy"}).out;
  EXPECT_THAT(shown, HasSubstr("2027-01-01 00:00:00 UTC (earlier ones lasted as long)\n"));
  EXPECT_THAT(shown, HasSubstr("carol, as administrator\n"));
  EXPECT_THAT(shown, HasSubstr("2026-01-01 00:00:00 UTC\n"));
  EXPECT_THAT(shown, HasSubstr("incident 7\n"));
}

TEST_F(OwnerTest, EditSendsWhatIsGivenAndNothingElse) {
  const Outcome outcome = Ctl({"edit", "mercy", "--label", "", "--access-for", "90d"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("Name:"));
  EXPECT_FALSE(daemon_.update().has_name());
  EXPECT_EQ(daemon_.update().label(), "");
  EXPECT_EQ(daemon_.update().access_for().seconds(), 90 * 86400);
  EXPECT_EQ(CtlJson({"edit", "mercy", "--name", "mum"})["registration"]["id"], "r-1");
  EXPECT_EQ(daemon_.update().name(), "mum");
  EXPECT_EQ(Ctl({"edit", "mercy"}).code, 2);
  EXPECT_EQ(Ctl({"edit", "mercy", "--access-for", "long"}).code, 2);
}

TEST_F(OwnerTest, EnrollSaysForHowLong) {
  const std::vector<std::string> enroll = {"enroll", "mercy", "--with-token-file", "-"};
  std::vector<std::string> args = enroll;
  args.insert(args.end(), {"--access-for", "1y"});
  EXPECT_EQ(Ctl(args, "token\n").code, 0);
  EXPECT_EQ(daemon_.with_token().access_for().seconds(), 365 * 86400);
  EXPECT_EQ(Ctl(enroll, "token\n").code, 0);
  EXPECT_FALSE(daemon_.with_token().has_access_for());
  args.back() = "0s";
  const Outcome outcome = Ctl(args, "token\n");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, Not(HasSubstr("token\n")));
}

TEST_F(SmartkeyctlTest, ReloadSaysWhatIsInForceAndWhatIsNot) {
  v1::ReloadConfigurationResponse reload;
  reload.add_changes("server grace is new");
  reload.add_needs_restart("[http] proxy");
  daemon_.SetReload(reload);
  const Outcome outcome = Ctl({"reload"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "Reloaded:\n  server grace is new\n"
            "Not in force before the next start of smartkeyd:\n  [http] proxy\n");
  EXPECT_EQ(outcome.err, "");
  const nlohmann::json json = CtlJson({"reload"});
  EXPECT_EQ(json["changes"], nlohmann::json({"server grace is new"}));
  EXPECT_EQ(json["needs_restart"], nlohmann::json({"[http] proxy"}));
  EXPECT_EQ(json["problems"], nlohmann::json::array());
}

TEST_F(SmartkeyctlTest, ReloadOfNothingNewWithAFileOutOfUse_EndsWithOne) {
  v1::ReloadConfigurationResponse reload;
  v1::ConfigProblem& problem = *reload.add_problems();
  problem.set_file("/etc/x.toml");
  problem.set_line(7);
  problem.set_message("unknown key");
  problem.set_file_disabled(true);
  daemon_.SetReload(reload);
  const Outcome outcome = Ctl({"reload"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "Reloaded: the apps and servers are as before.\n");
  EXPECT_EQ(outcome.err,
            "Problems:\n  /etc/x.toml:7: unknown key (the file's blocks are not in use)\n");
}

TEST_F(SmartkeyctlTest, ReloadFails_AllMistakesAreShown) {
  daemon_.EditStatus([](v1::GetStatusResponse& status) {
    for (const int line : {3, 9}) {
      v1::ConfigProblem& error = *status.add_reload_errors();
      error.set_file("/etc/smartkeyd/smartkeyd.toml");
      error.set_line(line);
      error.set_message("unknown key");
    }
  });
  const Outcome status = Ctl({"status"});
  EXPECT_THAT(status.out,
              HasSubstr("The last reload failed, and smartkeyd would not start anew, "
                        "because of:\n  /etc/smartkeyd/smartkeyd.toml:3: unknown key\n"));
  daemon_.FailCallsOf(
      "ReloadConfiguration",
      WireError(MakeError(Reason::kConfigInvalid,
                          "nothing was changed: /etc/smartkeyd/smartkeyd.toml:3: unknown key")));
  const Outcome outcome = Ctl({"reload"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("/etc/smartkeyd/smartkeyd.toml:9: unknown key\n"));
  EXPECT_THAT(outcome.err, HasSubstr("nothing was changed"));
}

}  // namespace
}  // namespace smartkey
