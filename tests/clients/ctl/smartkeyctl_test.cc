// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/clients/child_process.h"
#include "tests/clients/fake_daemon.h"
#include "tests/clients/temp_dir.h"

// The program itself, run as a person runs it, against the services of smartkey.v1 on a real
// socket.
namespace smartkey {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::string Slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class SmartkeyctlTest : public testing::Test {
 protected:
  struct Outcome {
    int code;
    std::string out;
    std::string err;
  };

  std::unique_ptr<ChildProcess> Start(std::vector<std::string> args,
                                      std::vector<std::string> environment = {}) {
    std::vector<std::string> argv = {SMARTKEYCTL_BINARY, "--socket", daemon_.path()};
    argv.insert(argv.end(), args.begin(), args.end());
    environment.push_back("PATH=/nonexistent-directory");
    return std::make_unique<ChildProcess>(std::move(argv), std::move(environment));
  }
  Outcome Ctl(std::vector<std::string> args, const std::string& input = "",
              std::vector<std::string> environment = {}) {
    auto child = Start(std::move(args), std::move(environment));
    if (!input.empty()) child->Type(input);
    child->CloseInput();
    const int code = child->Wait();
    return {code, child->out(), child->err()};
  }
  nlohmann::json CtlJson(std::vector<std::string> args) {
    args.insert(args.begin(), "--json");
    const Outcome outcome = Ctl(std::move(args));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    EXPECT_EQ(json.value("version", 0), 1) << outcome.out;
    return json;
  }

  TempDir dir_;
  FakeDaemon daemon_{dir_.File("smartkeyd.sock")};
};

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
  EXPECT_THAT(out, HasSubstr("that no registration needs:\n  smartkeyd:i-1:reg-9:2\n"));
  EXPECT_THAT(out, Not(HasSubstr("smartkeyd:i-1:reg-1:1")));
  EXPECT_THAT(out, HasSubstr("2 keys of this smartkeyd, 5 of others"));
  const auto json = CtlJson({"keys", "--all"});
  EXPECT_EQ(json["stored"]["keys"][1]["stray"], true);
  EXPECT_EQ(json["stored"]["of_other_instances"], 5);
}

TEST_F(SmartkeyctlTest, ServersAppsStatusAndVersionAreShown) {
  EXPECT_EQ(Ctl({"servers"}).out,
            "NAME   FHIR BASE                     PROFILE  APPS\n"
            "mercy  https://ehr.example.com/fhir  smart    org.example.viewer\n");
  EXPECT_THAT(Ctl({"apps"}).out, HasSubstr("http://127.0.0.1/callback"));
  const std::string status = Ctl({"status"}).out;
  EXPECT_THAT(status, HasSubstr("READY, TPM"));
  EXPECT_THAT(status, HasSubstr("4711, running for 1h1m1s"));
  EXPECT_THAT(status, HasSubstr("x.toml:7: unknown key"));
  EXPECT_THAT(Ctl({"version"}).out, HasSubstr("smartkeyd 9.8.7"));
  EXPECT_EQ(CtlJson({"servers"})["servers"][0]["name"], "mercy");
  EXPECT_EQ(CtlJson({"apps"})["apps"][0]["id"], "org.example.viewer");
  EXPECT_EQ(CtlJson({"status"})["registrations"]["ACTIVE"], 3);
  EXPECT_EQ(CtlJson({"version"})["daemon_version"], "9.8.7");
}

TEST_F(SmartkeyctlTest, DeleteNeedsAWordFromSomebody) {
  Outcome outcome = Ctl({"delete", "mercy"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("use --yes"));
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("DeleteRegistration")));
  outcome = Ctl({"delete", "alice/mercy", "--yes"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "Deleted r-1\n");
  EXPECT_EQ(outcome.err,
            "The server's portal may still list the app, which cannot get tokens any more; remove it "
            "there: https://ehr.example.com/apps\n");
}

TEST_F(SmartkeyctlTest, TheExampleOfTheLibrarysReadmeWorks) {
  ChildProcess works({README_EXAMPLE}, {"SMARTKEY_SOCKET=" + daemon_.path()});
  EXPECT_EQ(works.Wait(), 0) << works.err();
  EXPECT_THAT(works.out(), StartsWith("https://ehr.example.com/fhir until 2100-01-01"));
  ChildProcess fails({README_EXAMPLE}, {"SMARTKEY_SOCKET=" + dir_.File("other.sock")});
  EXPECT_EQ(fails.Wait(), 6);
  EXPECT_THAT(fails.err(), HasSubstr("systemctl start smartkeyd.socket"));
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

class EnrollTest : public SmartkeyctlTest {
 protected:
  // What a browser does when the server sends it back: one request, then the page it is sent to.
  std::string Browse(const std::string& query) {
    // No browser is back before the program has shown where it is to go.
    EXPECT_TRUE(daemon_.WaitForCall("WatchEnrollment"));
    std::string uri = daemon_.begin().redirect_uri();
    const uint16_t port =
        static_cast<uint16_t>(std::stoi(uri.substr(std::string("http://127.0.0.1:").size())));
    const std::string answer = Get(port, "/callback?" + query);
    return absl::StrCat(answer, Get(port, "/done"));
  }

 private:
  static std::string Get(uint16_t port, const std::string& target) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return "";
    const std::string request =
        absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: 127.0.0.1:", port, "\r\n\r\n");
    EXPECT_EQ(write(fd.get(), request.data(), request.size()),
              static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd.get(), buffer, sizeof(buffer))) > 0) answer.append(buffer, n);
    return answer;
  }
};

TEST_F(EnrollTest, TheBrowsersRedirectMakesARegistration) {
  auto child = Start({"enroll", "mercy", "--name", "mum", "--scope", "a", "--scope", "b",
                      "--algorithm", "ES256", "--context", "varies"});
  const std::string browser = Browse("code=fake-code-1&state=st4te");
  EXPECT_EQ(child->Wait(), 0);
  EXPECT_THAT(browser, StartsWith("HTTP/1.1 303"));
  EXPECT_THAT(browser, HasSubstr("HTTP/1.1 200"));
  EXPECT_EQ(child->out(),
            "Enrolled:     mercy\n"
            "Id:           r-1\n"
            "State:        working\n"
            "Get a token:  smartkeyctl token mercy\n");
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=fake-code-1&state=st4te");
  EXPECT_EQ(daemon_.begin().server(), "mercy");
  EXPECT_EQ(daemon_.begin().app(), "org.example.viewer");
  EXPECT_EQ(daemon_.begin().name(), "mum");
  EXPECT_EQ(daemon_.begin().algorithm(), "ES256");
  EXPECT_TRUE(daemon_.begin().context_varies());
  EXPECT_THAT(daemon_.begin().scopes(), testing::ElementsAre("a", "b"));
}

TEST_F(EnrollTest, WhatIsAskedIsShownAndTheProgressToo) {
  auto child = Start({"enroll", "https://ehr.example.com/fhir/"});
  Browse("code=fake-code-1&state=st4te");
  EXPECT_EQ(child->Wait(), 0);
  for (const char* text :
       {"https://ehr.example.com/authorize?redirect_uri=http://127.0.0.1:", "initial-client",
        "ehr.example.com", "token.example.com", "some servers end the earlier one",
        "The hardware key is made.", "Registering this machine's key"}) {
    EXPECT_THAT(child->err(), HasSubstr(text));
  }
  EXPECT_THAT(child->err(), HasSubstr(daemon_.begin().redirect_uri()));
  EXPECT_THAT(child->err(), Not(HasSubstr("fake-code")));
}

TEST_F(EnrollTest, ARefusedConsentReachesTheDaemonAndItsAnswerThePerson) {
  auto child = Start({"enroll", "mercy"});
  ASSERT_TRUE(daemon_.WaitForCall("BeginEnrollment"));
  daemon_.FailWith(WireError(Reason::kConsentDenied));
  Browse("error=access_denied&state=st4te");
  EXPECT_EQ(child->Wait(), 4);
  EXPECT_THAT(child->err(), HasSubstr("begin again and allow the access"));
  EXPECT_EQ(daemon_.complete().redirect_query(), "error=access_denied&state=st4te");
}

TEST_F(EnrollTest, APastedRedirectDoesAsWell) {
  auto child = Start({"enroll", "mercy", "--no-browser"});
  ASSERT_TRUE(daemon_.WaitForCall("BeginEnrollment"));
  child->Type("nonsense\n" + daemon_.begin().redirect_uri() + "?code=fake-code-2&state=st4te\n");
  EXPECT_EQ(child->Wait(), 0) << child->err();
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=fake-code-2&state=st4te");
  EXPECT_THAT(child->err(), HasSubstr("Paste the whole address"));
}

TEST_F(EnrollTest, RedirectsOfAnotherLoginDoNotEndThisOne) {
  auto child = Start({"enroll", "mercy", "--no-browser"});
  EXPECT_THAT(Browse("code=stolen&state=forged"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Browse("code=stolen"), StartsWith("HTTP/1.1 404"));
  child->Type(
      "code=stolen&state=forged\n"
      "code=fake-code-3&state=st4te\n");
  EXPECT_EQ(child->Wait(), 0) << child->err();
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=fake-code-3&state=st4te");
  EXPECT_THAT(child->err(), HasSubstr("belongs to another login"));
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("CancelEnrollment")));
}

TEST_F(EnrollTest, ALongRedirectPastedIntoATerminalIsWholeAndNotShown) {
  const UniqueFd keyboard(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_EQ(grantpt(keyboard.get()), 0);
  ASSERT_EQ(unlockpt(keyboard.get()), 0);
  const std::string terminal = ptsname(keyboard.get());
  const UniqueFd kept_open(open(terminal.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios before;
  ASSERT_EQ(tcgetattr(kept_open.get(), &before), 0);

  ChildProcess child({SMARTKEYCTL_BINARY, "--socket", daemon_.path(), "enroll", "mercy"}, {},
                     terminal);
  // Line mode goes off before the first byte is typed, or it would be echoed and cut.
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  termios now = before;
  while ((now.c_lflag & ECHO) != 0 && absl::Now() < limit) {
    usleep(1000);
    tcgetattr(kept_open.get(), &now);
  }
  const std::string query = "code=" + std::string(6000, 'c') + "&state=st4te";
  std::string typed = "http://127.0.0.1/callback?" + query + "\n";
  for (size_t at = 0; at < typed.size();) {
    const ssize_t n = write(keyboard.get(), typed.data() + at, typed.size() - at);
    ASSERT_GT(n, 0);
    at += static_cast<size_t>(n);
  }
  EXPECT_EQ(child.Wait(), 0) << child.err();
  EXPECT_EQ(daemon_.complete().redirect_query(), query);
  EXPECT_THAT(child.err(), HasSubstr("paste"));
  termios after;
  ASSERT_EQ(tcgetattr(kept_open.get(), &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  pollfd echoed = {keyboard.get(), POLLIN, 0};
  EXPECT_EQ(poll(&echoed, 1, 0), 0);
}

TEST_F(EnrollTest, AFailureAfterTheRedirectLeavesNothingPending) {
  auto child = Start({"enroll", "mercy"});
  ASSERT_TRUE(daemon_.WaitForCall("BeginEnrollment"));
  daemon_.FailWith(WireError(Reason::kStateMismatch));
  Browse("code=c&state=st4te");
  EXPECT_EQ(child->Wait(), 4);
  EXPECT_THAT(daemon_.calls(), testing::Contains("CancelEnrollment"));
}

TEST_F(EnrollTest, ARedirectUriElsewhereIsPastedOnly) {
  daemon_.SetRedirectUri("https://app.example/callback");
  const Outcome outcome =
      Ctl({"enroll", "mercy"}, "https://app.example/callback?code=c&state=st4te\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(daemon_.begin().redirect_uri(), "https://app.example/callback");
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=c&state=st4te");
}

TEST_F(EnrollTest, CtrlCCancelsTheEnrollmentAtTheDaemon) {
  auto child = Start({"enroll", "mercy"});
  ASSERT_TRUE(daemon_.WaitForCall("BeginEnrollment"));
  kill(child->pid(), SIGINT);
  EXPECT_EQ(child->Wait(), 1);
  EXPECT_THAT(daemon_.calls(), testing::Contains("CancelEnrollment"));
  EXPECT_THAT(child->err(), HasSubstr("given up"));
}

TEST_F(EnrollTest, ABusyPortIsSaidBeforeAnythingIsBegun) {
  const UniqueFd busy(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(busy.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(busy.get(), 1), 0);
  socklen_t size = sizeof(address);
  getsockname(busy.get(), reinterpret_cast<sockaddr*>(&address), &size);
  daemon_.SetRedirectUri(absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port), "/callback"));

  Outcome outcome = Ctl({"enroll", "mercy"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("cannot listen at port"));
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("BeginEnrollment")));
  outcome = Ctl({"enroll", "mercy", "--no-browser"}, "code=c&state=st4te\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

class EnrollOnDesktopTest : public EnrollTest {
 protected:
  // Stands in for xdg-open: notes its arguments, and then what it finds in the page.
  void SetUp() override {
    const std::string script = dir_.File("xdg-open");
    std::ofstream(script) << "#!/bin/sh\n{ printf '%s|%s\\n' \"$#\" \"$1\"; /bin/cat \"$1\"; } > '"
                          << note_ << ".new'\n"
                          << "/bin/mv '" << note_ << ".new' '" << note_ << "'\n";
    chmod(script.c_str(), 0755);
    mkdir(runtime_.c_str(), 0700);
  }
  std::unique_ptr<ChildProcess> StartOnDesktop(std::vector<std::string> args,
                                               const std::string& runtime) {
    std::vector<std::string> argv = {SMARTKEYCTL_BINARY, "--socket", daemon_.path()};
    argv.insert(argv.end(), args.begin(), args.end());
    return std::make_unique<ChildProcess>(
        std::move(argv), std::vector<std::string>{"DISPLAY=:0", "PATH=" + dir_.File(""),
                                                  "XDG_RUNTIME_DIR=" + runtime});
  }

  const std::string note_ = dir_.File("opened");
  const std::string runtime_ = dir_.File("run");
};

TEST_F(EnrollOnDesktopTest, TheBrowserGetsTheUrlInAPageThatOnlyThisUserCanRead) {
  daemon_.SetRedirectUri("http://127.0.0.1/callback?x=\"<'>");
  auto child = StartOnDesktop({"enroll", "mercy"}, runtime_);
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (access(note_.c_str(), F_OK) != 0 && absl::Now() < limit) usleep(1000);
  const std::pair<std::string, std::string> noted =
      absl::StrSplit(Slurp(note_), absl::MaxSplits('\n', 1));
  ASSERT_THAT(noted.first, testing::MatchesRegex("1\\|" + runtime_ + "/smartkeyctl-.*\\.html"));
  const std::string page = noted.first.substr(2);
  struct stat status = {};
  ASSERT_EQ(stat(page.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & ACCESSPERMS, static_cast<mode_t>(S_IRUSR | S_IWUSR));

  const std::string redirect_uri = daemon_.begin().redirect_uri();
  const std::string url = absl::StrCat("https://ehr.example.com/authorize?redirect_uri=",
                                       redirect_uri.substr(0, redirect_uri.find('"')),
                                       "&quot;&lt;&#39;&gt;&amp;state=st4te\">");
  EXPECT_THAT(noted.second, HasSubstr("http-equiv=\"refresh\" content=\"0; url=" + url));
  EXPECT_THAT(noted.second, HasSubstr("<a href=\"" + url));
  EXPECT_THAT(noted.second, Not(HasSubstr("<script")));

  kill(child->pid(), SIGINT);
  EXPECT_EQ(child->Wait(), 1);
  EXPECT_NE(access(page.c_str(), F_OK), 0);
}

TEST_F(EnrollOnDesktopTest, TheRedirectTakesThePageAway) {
  auto child = StartOnDesktop({"enroll", "mercy"}, runtime_);
  Browse("code=c&state=st4te");
  EXPECT_EQ(child->Wait(), 0) << child->err();
  EXPECT_THAT(child->err(), HasSubstr("The browser was asked to open"));
  EXPECT_TRUE(std::filesystem::is_empty(runtime_));
}

TEST_F(EnrollOnDesktopTest, WithoutADirectoryOfOnesOwnTheUrlIsToBeOpenedByHand) {
  const std::string link = dir_.File("link");
  ASSERT_EQ(symlink(runtime_.c_str(), link.c_str()), 0);
  const std::string shared = dir_.File("shared");
  ASSERT_EQ(mkdir(shared.c_str(), 0755), 0);
  ASSERT_EQ(chmod(shared.c_str(), 0755), 0);
  for (const std::string& directory :
       std::vector<std::string>{"", link, shared, dir_.File("absent")}) {
    FakeDaemon daemon(dir_.File("another.sock"));
    ChildProcess child({SMARTKEYCTL_BINARY, "--socket", daemon.path(), "enroll", "mercy"},
                       {"DISPLAY=:0", "PATH=" + dir_.File(""), "XDG_RUNTIME_DIR=" + directory});
    EXPECT_TRUE(daemon.WaitForCall("WatchEnrollment"));
    kill(child.pid(), SIGINT);
    EXPECT_EQ(child.Wait(), 1);
    EXPECT_THAT(child.err(), HasSubstr("\nOpen this address in a browser")) << directory;
    EXPECT_THAT(child.err(), HasSubstr("&state=st4te\n")) << directory;
  }
  EXPECT_NE(access(note_.c_str(), F_OK), 0);
}

TEST_F(EnrollOnDesktopTest, NoBrowserIsOpenedWhereItIsForbidden) {
  auto child = StartOnDesktop({"enroll", "mercy", "--no-browser"}, runtime_);
  Browse("code=c&state=st4te");
  EXPECT_EQ(child->Wait(), 0) << child->err();
  EXPECT_THAT(child->err(), HasSubstr("\nOpen this address in a browser"));
  EXPECT_NE(access(note_.c_str(), F_OK), 0);
}

TEST_F(EnrollTest, AnInitialTokenComesFromAFileOrStdinAndIsShownNowhere) {
  const std::string file = dir_.File("token");
  std::ofstream(file) << "fake-initial-token\n";
  Outcome outcome =
      Ctl({"enroll", "mercy", "--app", "org.example.viewer", "--with-token-file", file});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Enrolled:     mercy"));
  EXPECT_EQ(daemon_.with_token().initial_access_token(), "fake-initial-token");

  outcome = Ctl({"enroll", "mercy", "--with-token-file", "-"}, "fake-initial-token-2\n",
                {"GRPC_TRACE=all", "GRPC_VERBOSITY=DEBUG"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(daemon_.with_token().initial_access_token(), "fake-initial-token-2");
  EXPECT_THAT(outcome.err, Not(HasSubstr("fake-initial")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("fake-initial")));
}

TEST_F(EnrollTest, TheCommandLineOfARunningEnrollmentHasNoSecret) {
  daemon_.Hang();
  auto child = Start({"enroll", "mercy", "--with-token-file", "-"});
  child->Type("fake-initial-token\n");
  child->CloseInput();
  ASSERT_TRUE(daemon_.WaitForCall("EnrollWithInitialToken"));
  const std::string proc = absl::StrCat("/proc/", child->pid());
  EXPECT_THAT(Slurp(proc + "/cmdline"), HasSubstr("enroll"));
  EXPECT_THAT(Slurp(proc + "/cmdline"), Not(HasSubstr("fake-initial")));
  EXPECT_THAT(Slurp(proc + "/environ"), Not(HasSubstr("fake-initial")));
}

TEST_F(EnrollTest, AnEmptyTokenIsAUsageError) {
  EXPECT_EQ(Ctl({"enroll", "mercy", "--with-token-file", "-"}, "\n").code, 2);
  EXPECT_THAT(daemon_.calls(), IsEmpty());
}

TEST_F(EnrollTest, AServerThatIsNotConfiguredIsSaid) {
  const Outcome outcome = Ctl({"enroll", "merzy"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("no server of this name"));
}

}  // namespace
}  // namespace smartkey
