// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include "gmock/gmock.h"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

// What `report` and `audit --verify` make of what smartkeyd says.
namespace smartkey {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class ReportTest : public SmartkeyctlTest {
 protected:
  nlohmann::json Report() {
    const Outcome outcome = Ctl({"report", "--output", "-"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    for (const char* name : {"mercy", "alice", "ehr.example.com"}) {
      EXPECT_THAT(outcome.out, Not(HasSubstr(name)));
    }
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }

  // The result of smartkeyd's own, after those of the client.
  static nlohmann::json ServerCheck(const nlohmann::json& report) {
    for (const nlohmann::json& result : report["diagnosis"]) {
      if (result["number"] == 21) return result;
    }
    ADD_FAILURE() << report["diagnosis"];
    return {};
  }
};

TEST_F(ReportTest, ListsAreKnown_EveryTextIsThereWithOtherWordsInIt) {
  const nlohmann::json report = Report();
  EXPECT_FALSE(report.contains("left_out"));
  EXPECT_TRUE(report.contains("status"));
  EXPECT_THAT(report["metrics"].get<std::string>(), HasSubstr("<server-1>"));
  const nlohmann::json result = ServerCheck(report);
  EXPECT_EQ(result["check"], "server <server-1>");
  EXPECT_THAT(result["finding"].get<std::string>(), HasSubstr("is refused"));
  EXPECT_TRUE(result.contains("remedy"));
}

TEST_F(ReportTest, AListFails_WhatMayNameAnybodyIsLeftOut) {
  for (const char* list : {"ListServers", "ListRegistrations"}) {
    daemon_.FailCallsOf(list, WireError(Reason::kStoreUnavailable));
    const nlohmann::json report = Report();
    EXPECT_TRUE(report.contains("left_out")) << list;
    EXPECT_FALSE(report.contains("status")) << list;
    EXPECT_FALSE(report.contains("metrics")) << list;
    const nlohmann::json result = ServerCheck(report);
    EXPECT_EQ(result["check"], "server") << list;
    EXPECT_EQ(result["finding"], "left out") << list;
    EXPECT_FALSE(result.contains("remedy")) << list << ": it names who is in no list";
    EXPECT_EQ(result["outcome"], "BROKEN") << list;
    daemon_.FailCallsOf(list, grpc::Status::OK);
  }
}

TEST_F(ReportTest, AListFails_WhoWritesAFileIsToldThatTextsAreLeftOut) {
  const std::string path = dir_.File("report.json");
  daemon_.FailCallsOf("ListRegistrations", WireError(Reason::kStoreUnavailable));
  const Outcome outcome = Ctl({"report", "--output", path});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Most texts are left out"));
  EXPECT_THAT(Slurp(path), HasSubstr("\"left_out\""));
}

TEST_F(ReportTest, AFileIsWrittenWithJson_TheObjectNamesIt) {
  const std::string path = dir_.File("report.json");
  EXPECT_EQ(CtlJson({"report", "--output", path}),
            (nlohmann::json{{"version", 1}, {"file", path}}));
  EXPECT_EQ(nlohmann::json::parse(Slurp(path))["report"], "smartkeyd");
  daemon_.FailCallsOf("ListRegistrations", WireError(Reason::kStoreUnavailable));
  const std::string other = dir_.File("other.json");
  const nlohmann::json written = CtlJson({"report", "--output", other});
  EXPECT_EQ(written["left_out"], nlohmann::json::parse(Slurp(other))["left_out"]);
}

TEST_F(SmartkeyctlTest, DoctorReachesOnlyThePublicSocket_ItNamesWhatReachesTheOther) {
  struct stat info {};
  if (stat("/run/smartkeyd-admin", &info) == 0) return;  // this machine has a smartkeyd of its own
  ChildProcess doctor({SMARTKEYCTL_BINARY, "doctor", "--area", "store", "--json"},
                      {"SMARTKEY_SOCKET=" + daemon_.path(), "PATH=/nonexistent-directory"});
  EXPECT_EQ(doctor.Wait(), 1);
  const auto result = nlohmann::json::parse(doctor.out(), nullptr, false);
  EXPECT_EQ(result["number"], 5) << doctor.out();
  EXPECT_THAT(
      result["remedy"].get<std::string>(),
      AllOf(HasSubstr("--socket"), HasSubstr("systemctl start"), Not(HasSubstr("install"))));
}

class VerifyTest : public SmartkeyctlTest {
 protected:
  static v1::ReadAuditLogResponse Found() {
    v1::ReadAuditLogResponse found;
    found.set_verified_entries(120);
    found.mutable_verification()->set_first_sequence(1);
    found.mutable_verification()->set_head("120:" + std::string(64, 'a'));
    found.mutable_verification()->set_signed_checkpoints(3);
    found.mutable_verification()->set_signed_sequence(110);
    found.mutable_verification()->add_key_thumbprints("own-key");
    return found;
  }
};

TEST_F(VerifyTest, AllIsWell_TheResultSaysSo) {
  daemon_.SetVerification(Found());
  const Outcome outcome = Ctl({"audit", "--verify"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(ContainsRegex("^Result: +everything fits\n"),
                    ContainsRegex("\nSigned: +up to entry 110\n"), Not(HasSubstr("Problems"))));
}

TEST_F(VerifyTest, ForeignKeySigned_TheResultDoesNotReadAsIfAllWereWell) {
  v1::ReadAuditLogResponse found = Found();
  found.mutable_verification()->set_signed_sequence(0);
  found.mutable_verification()->add_problems("the newest signed checkpoint is not by the key");
  daemon_.SetVerification(found);
  const Outcome outcome = Ctl({"audit", "--verify"});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(ContainsRegex("^Result: +NOT everything fits"),
                                 ContainsRegex("\nSigned: +nothing that can be relied on\n"),
                                 HasSubstr("\nProblems:\n  the newest signed checkpoint")));
}

TEST_F(VerifyTest, VerifyOfAPart_IsRefused) {
  daemon_.SetVerification(Found());
  const std::vector<std::vector<std::string>> parts = {{"mercy"}, {"--since", "7d"}, {"--follow"}};
  for (const auto& part : parts) {
    std::vector<std::string> args = {"audit", "--verify"};
    args.insert(args.end(), part.begin(), part.end());
    const Outcome outcome = Ctl(args);
    EXPECT_EQ(outcome.code, 2) << part.front();
    EXPECT_THAT(outcome.err, HasSubstr("excludes")) << part.front();
    EXPECT_EQ(outcome.out, "") << part.front();
  }
}

TEST_F(SmartkeyctlTest, AuditOfNothing_IsSaid) {
  const Outcome outcome = Ctl({"audit", "--since", "1d"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "The audit log has no such entry.\n");
  EXPECT_EQ(Ctl({"--json", "audit"}).err, "");
}

TEST_F(VerifyTest, AnchorIsNotMet_IsReferredToTheProblem) {
  daemon_.SetVerification(Found());
  EXPECT_THAT(Ctl({"audit", "--verify"}).out, HasSubstr("not: compare with a head"));
  v1::ReadAuditLogResponse found = Found();
  found.mutable_verification()->add_problems("entry 7 is not the one of the anchor");
  daemon_.SetVerification(found);
  const Outcome outcome = Ctl({"audit", "--verify", "--anchor", "7:" + std::string(64, 'b')});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(ContainsRegex("\nAnchored: +not: see the problems below\n"),
                                 Not(HasSubstr("compare with a head"))));
}

}  // namespace
}  // namespace smartkey
