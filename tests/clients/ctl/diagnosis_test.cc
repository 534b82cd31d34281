// SPDX-License-Identifier: Apache-2.0
// What smartkeyctl finds out where no smartkeyd answers. The numbers are those of docs/doctor.md.
#include "clients/ctl/diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "tests/clients/temp_dir.h"

namespace smartkey::ctl {
namespace {

class DiagnosisWithoutDaemon : public testing::Test {
 protected:
  DiagnosisWithoutDaemon() {
    options_.area = "client";
    options_.systemctl = Program("systemctl", "echo LoadState=loaded; echo ActiveState=active");
    options_.journalctl = Program("journalctl", kNoErrorInJournal);
    options_.smartkeyd = Program("smartkeyd", "echo the configuration is right");
    options_.config = dir_.File("smartkeyd.toml");
    std::ofstream(options_.config) << "\n";
  }

  std::string Program(const std::string& name, const std::string& does) {
    const std::string path = dir_.File(name);
    std::ofstream(path) << "#!/bin/sh\n" << does << "\n";
    chmod(path.c_str(), 0755);
    return path;
  }

  std::vector<client::DiagnosticResult> RunAll() {
    std::ostringstream out, err;
    Session session{.out = out, .err = err, .socket = dir_.File("socket")};
    std::vector<client::DiagnosticResult> results;
    Diagnose(session, options_,
             [&](const client::DiagnosticResult& result) { results.push_back(result); });
    return results;
  }

  std::map<uint32_t, client::DiagnosticResult> Run() {
    std::map<uint32_t, client::DiagnosticResult> results;
    for (const client::DiagnosticResult& result : RunAll()) results[result.number] = result;
    return results;
  }

  static constexpr char kNoErrorInJournal[] = "case $* in *err*) ;; *) echo Started;; esac";

  TempDir dir_;
  DiagnosisOptions options_;
};

TEST_F(DiagnosisWithoutDaemon, ThereIsNoSocket_IsFound) {
  const auto results = Run();
  EXPECT_EQ(results.at(1).outcome, "BROKEN");
  EXPECT_NE(results.at(1).finding.find(dir_.File("socket")), std::string::npos);
  EXPECT_FALSE(results.at(1).remedy.empty());
  for (const uint32_t number : {2u, 3u, 4u})
    EXPECT_EQ(results.at(number).outcome, "PASSED") << number;
}

TEST_F(DiagnosisWithoutDaemon, AFileIsWhereTheSocketShouldBe_IsFound) {
  std::ofstream(dir_.File("socket")) << "not a socket";
  EXPECT_NE(Run().at(1).finding.find("is no socket"), std::string::npos);
}

TEST_F(DiagnosisWithoutDaemon, TheUnitFailed_IsFoundWithItsLastErrorInTheJournal) {
  options_.systemctl = Program("systemctl", "echo LoadState=loaded; echo ActiveState=failed");
  options_.journalctl = Program("journalctl", "echo the database is written by a newer smartkeyd");
  const auto results = Run();
  EXPECT_EQ(results.at(2).outcome, "BROKEN");
  EXPECT_NE(results.at(2).finding.find("ActiveState=failed"), std::string::npos);
  EXPECT_EQ(results.at(4).outcome, "SUSPICIOUS");
  EXPECT_NE(results.at(4).finding.find("a newer smartkeyd"), std::string::npos);
}

TEST_F(DiagnosisWithoutDaemon, ThereIsNoUnit_IsFound) {
  options_.systemctl = Program("systemctl", "echo LoadState=not-found; echo ActiveState=inactive");
  EXPECT_EQ(Run().at(2).outcome, "SUSPICIOUS");
}

TEST_F(DiagnosisWithoutDaemon, SystemdIsNotThere_IsNotTried) {
  options_.systemctl = Program("systemctl", "exit 1");
  EXPECT_EQ(Run().at(2).outcome, "SKIPPED");
  options_.systemctl = dir_.File("no-such-program");
  EXPECT_EQ(Run().at(2).outcome, "SKIPPED");
}

TEST_F(DiagnosisWithoutDaemon, TheConfigurationIsWrong_ItsMistakeIsSaid) {
  options_.smartkeyd = Program("smartkeyd", "echo \"$2:3: unknown key\" >&2; exit 1");
  const auto results = Run();
  EXPECT_EQ(results.at(3).outcome, "BROKEN");
  EXPECT_EQ(results.at(3).finding, options_.config + ":3: unknown key");
}

TEST_F(DiagnosisWithoutDaemon, TheConfigurationHasSeveralMistakes_EachIsAResult) {
  options_.smartkeyd =
      Program("smartkeyd", "echo \"$2:3: unknown key\"; echo \"$2:9: no app\"; exit 1");
  std::vector<std::string> findings;
  for (const client::DiagnosticResult& result : RunAll()) {
    if (result.number != 3) continue;
    EXPECT_EQ(result.outcome, "BROKEN");
    EXPECT_FALSE(result.remedy.empty());
    findings.push_back(result.finding);
  }
  EXPECT_EQ(findings, (std::vector<std::string>{options_.config + ":3: unknown key",
                                                options_.config + ":9: no app"}));
}

// As another user: nothing is closed to root.
TEST_F(DiagnosisWithoutDaemon, YouMayNotReadADropIn_IsNotTried) {
  const std::string closed = dir_.File("closed.toml");
  std::ofstream(closed) << "\n";
  options_.smartkeyd = Program("smartkeyd", "echo \"" + closed + ": cannot be read\"; echo \"" +
                                                options_.config + ":3: unknown key\"; exit 1");
  ASSERT_EQ(chmod(dir_.File("").c_str(), 0755), 0);
  ASSERT_EQ(chmod(options_.config.c_str(), 0644), 0);
  ASSERT_EQ(chmod(closed.c_str(), 0), 0);
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
        for (const client::DiagnosticResult& result : RunAll()) {
          if (result.number == 3) std::cerr << result.outcome << " " << result.finding << "\n";
        }
        _exit(0);
      },
      testing::ExitedWithCode(0),
      testing::HasSubstr("SKIPPED " + closed + " cannot be read by you\nBROKEN " + options_.config +
                         ":3: unknown key\n"));
}

TEST_F(DiagnosisWithoutDaemon, YouMayNotLookWhereTheConfigurationIs_IsNotTried) {
  ASSERT_EQ(chmod(dir_.File("").c_str(), 0), 0);
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
        _exit(Run().at(3).outcome == "SKIPPED" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  ASSERT_EQ(chmod(dir_.File("").c_str(), 0700), 0);
}

TEST_F(DiagnosisWithoutDaemon, TheLastErrorHasSeveralLines_TheyAreOneResult) {
  options_.journalctl = Program("journalctl", "echo cannot start; echo the disk is full");
  EXPECT_EQ(Run().at(4).finding, "the last error: cannot start; the disk is full");
}

TEST_F(DiagnosisWithoutDaemon, ThereIsNoConfiguration_IsFound) {
  options_.config = dir_.File("no-such-file");
  EXPECT_EQ(Run().at(3).outcome, "SUSPICIOUS");
}

TEST_F(DiagnosisWithoutDaemon, TheJournalHasNothingOfSmartkeyd_IsNotTakenForNoError) {
  options_.journalctl = Program("journalctl", "true");  // as without any journal, with --quiet
  const auto results = Run();
  EXPECT_EQ(results.at(4).outcome, "SKIPPED");
  EXPECT_FALSE(results.at(4).remedy.empty());
}

TEST_F(DiagnosisWithoutDaemon, TheJournalCannotBeRead_IsNotTried) {
  options_.journalctl = Program("journalctl", "exit 1");
  const auto results = Run();
  EXPECT_EQ(results.at(4).outcome, "SKIPPED");
  EXPECT_NE(results.at(4).remedy.find("systemd-journal"), std::string::npos);
}

}  // namespace
}  // namespace smartkey::ctl
