// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/command_line.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace smartkey::ctl {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Runs a command line for which no daemon is needed, or none is there.
struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome Ctl(std::vector<std::string> args) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunCommandLine(args, out, err);
  return {code, out.str(), err.str()};
}

const char kNoSocket[] = "/nonexistent-directory/smartkeyd.sock";

TEST(CommandLine, HelpIsNoError) {
  const Outcome help = Ctl({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"enroll", "list", "show", "delete", "token", "assertion", "jwks",
                              "servers", "apps", "status", "tpm", "version"}) {
    EXPECT_THAT(help.out, HasSubstr(command));
  }
  EXPECT_THAT(help.err, IsEmpty());
  EXPECT_THAT(Ctl({"token", "--help"}).out, HasSubstr("smartkeyctl token"));
  EXPECT_THAT(Ctl({"tpm", "--help"}).out, HasSubstr("provision"));
  const Outcome nested = Ctl({"tpm", "provision", "--help"});
  EXPECT_EQ(nested.code, 0);
  EXPECT_THAT(nested.out, HasSubstr("smartkeyctl tpm provision"));
  EXPECT_THAT(nested.out, HasSubstr("--owner-password-file"));
}

TEST(CommandLine, TheListOfCommands_HasWhatIsLongInTheirOwnHelp) {
  EXPECT_THAT(Ctl({"--help"}).out,
              AllOf(HasSubstr("what to do\n  report "), HasSubstr("again\n  log-level ")));
  EXPECT_THAT(Ctl({"tpm", "--help"}).out, HasSubstr("root key persistently\n"));
  EXPECT_THAT(Ctl({"doctor", "--help"}).out, HasSubstr("with 1 if something is broken.\n"));
  EXPECT_THAT(Ctl({"edit", "--help"}).out,
              HasSubstr("[At least 1 of the following options are required]\n"));
}

TEST(CommandLine, TheVersionIsOneLineAndNeedsNoDaemon) {
  const Outcome outcome = Ctl({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, testing::MatchesRegex("smartkeyctl [0-9.]+\n"));
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_EQ(Ctl({"list", "--version"}).out, outcome.out);
}

TEST(CommandLine, CompletionWithoutAShell_SaysWhichThereAre) {
  const Outcome outcome = Ctl({"completion"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("bash or zsh"));
}

TEST(CommandLine, WhatCannotBeParsedIsExitCodeTwo) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"token"},
      {"token", "mercy", "extra"},
      {"token", "mercy", "--nonsense"},
      {"list", "--socket"},
      {"enroll"},
      {"tpm"},
      {"tpm", "provsion"},
      {"tpm", "provision", "--nonsense"},
      {"enroll", "mercy", "--context", "sometimes"},
      {"enroll", "mercy", "--no-browser", "--with-token-file", "-"},
      {"--nonsense", "list"},
  };
  for (const auto& args : wrong) {
    const Outcome outcome = Ctl(args);
    EXPECT_EQ(outcome.code, 2) << testing::PrintToString(args);
    EXPECT_THAT(outcome.err, testing::StartsWith("smartkeyctl: ")) << testing::PrintToString(args);
    EXPECT_THAT(outcome.err, HasSubstr("--help"));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

TEST(CommandLine, AnUnknownCommandIsMetWithTheNearestOne) {
  Outcome outcome = Ctl({"--socket", kNoSocket, "lst"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("no command 'lst'; did you mean 'list'?"));
  outcome = Ctl({"tokne", "mercy"});
  EXPECT_THAT(outcome.err, HasSubstr("did you mean 'token'?"));
  outcome = Ctl({"xylophone"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, Not(HasSubstr("did you mean")));
}

TEST(CommandLine, AWrongDurationIsRefusedBeforeTheDaemonIsAsked) {
  const Outcome outcome = Ctl({"--socket", kNoSocket, "token", "mercy", "--min-valid", "5"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--min-valid: "));
}

TEST(CommandLine, ASocketWhoseDirectoryIsMissingMeansNotInstalled) {
  for (const char* command : {"list", "servers", "apps", "status", "version"}) {
    const Outcome outcome = Ctl({"--socket", kNoSocket, command});
    EXPECT_EQ(outcome.code, 6) << command;
    EXPECT_THAT(outcome.err, HasSubstr("there is no smartkeyd")) << command;
    EXPECT_THAT(outcome.err, HasSubstr("\n  install the smartkeyd package")) << command;
  }
}

TEST(CommandLine, GlobalOptionsMayFollowTheCommand) {
  EXPECT_EQ(Ctl({"list", "--socket", kNoSocket}).code, 6);
}

TEST(CommandLine, AnErrorIsJsonOnRequest) {
  const Outcome outcome = Ctl({"--socket", kNoSocket, "--json", "list"});
  EXPECT_EQ(outcome.code, 6);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["error"]["reason"], "DAEMON_NOT_INSTALLED");
  EXPECT_EQ(json["error"]["exit_code"], 6);
  EXPECT_THAT(outcome.err, HasSubstr("smartkeyctl: "));
}

TEST(CommandLine, AMistakeOfTheCommandLineIsJsonOnRequest) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--json"}, {"lst", "--json"}, {"token", "--json"}, {"--json", "watch", "a", "b"}};
  for (const auto& args : wrong) {
    const Outcome outcome = Ctl(args);
    EXPECT_EQ(outcome.code, 2) << testing::PrintToString(args);
    const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    EXPECT_EQ(json["version"], 1) << outcome.out;
    EXPECT_EQ(json["error"]["reason"], "INVALID_ARGUMENT") << outcome.out;
    EXPECT_EQ(json["error"]["exit_code"], 2) << outcome.out;
    EXPECT_THAT(outcome.err, testing::StartsWith("smartkeyctl: ")) << outcome.err;
  }
}

TEST(CommandLine, ControlCharactersOfArgumentsAreNotEchoed) {
  EXPECT_THAT(Ctl({"\x1b]0;x\x07"}).err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(Ctl({"list", "\x1b]0;x\x07"}).err, Not(HasSubstr("\x1b")));
}

TEST(CommandLine, ATokenIsReadFromAFileOnly) {
  const Outcome outcome = Ctl({"--socket", kNoSocket, "enroll", "mercy", "--with-token-file",
                               "/nonexistent-directory/token"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("cannot read the token file"));
}

TEST(NearestWord, IsTheOneWithTheFewestEdits) {
  const std::vector<std::string> words = {"list", "show", "token", "status"};
  EXPECT_EQ(NearestWord("stauts", words), "status");
  EXPECT_EQ(NearestWord("shw", words), "show");
  EXPECT_EQ(NearestWord("zzz", words), absl::nullopt);
}

}  // namespace
}  // namespace smartkey::ctl
