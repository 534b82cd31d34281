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

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

// smartkeyctl enroll, with whatever a browser and a person at a terminal do to it.
namespace smartkey {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

uint16_t PortOf(const std::string& redirect_uri) {
  return static_cast<uint16_t>(
      std::stoi(redirect_uri.substr(std::string("http://127.0.0.1:").size())));
}

class EnrollTest : public SmartkeyctlTest {
 protected:
  // What a browser does when the server sends it back: one request, then the page it is sent to.
  std::string Browse(const std::string& query) {
    // No browser is back before the program has shown where it is to go.
    EXPECT_TRUE(daemon_.WaitForCall("WatchEnrollment"));
    const uint16_t port = PortOf(daemon_.begin().redirect_uri());
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

class InterruptedEnrollTest : public EnrollTest, public testing::WithParamInterface<int> {};

TEST_P(InterruptedEnrollTest, TheEnrollmentIsCancelledAtTheDaemon) {
  auto child = Start({"enroll", "mercy"});
  ASSERT_TRUE(daemon_.WaitForCall("BeginEnrollment"));
  kill(child->pid(), GetParam());
  EXPECT_EQ(child->Wait(), 1);
  EXPECT_THAT(daemon_.calls(), testing::Contains("CancelEnrollment"));
  EXPECT_THAT(child->err(), HasSubstr("given up"));
}

// Ctrl-C, an end asked for by others, a terminal that is closed.
INSTANTIATE_TEST_SUITE_P(Signals, InterruptedEnrollTest, testing::Values(SIGINT, SIGTERM, SIGHUP));

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

TEST_F(EnrollTest, WhoCameBySshIsToldHowTheBrowserGetsHere) {
  auto child = Start({"enroll", "mercy", "--no-browser"},
                     {"SSH_CONNECTION=198.51.100.7 50122 192.0.2.1 2222"});
  Browse("code=fake-code-1&state=st4te");
  EXPECT_EQ(child->Wait(), 0);
  const std::string port = std::to_string(PortOf(daemon_.begin().redirect_uri()));
  EXPECT_THAT(child->err(), testing::ContainsRegex("ssh -N -p 2222 -L " + port +
                                                   ":127.0.0.1:" + port + " .*192.0.2.1"));
}

TEST_F(EnrollTest, NobodyComesBackInTheTimeGiven_IsCancelledAndExplained) {
  const Outcome outcome = Ctl({"enroll", "mercy", "--wait", "1s"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("did not come back"));
  EXPECT_THAT(outcome.err, HasSubstr("Usual causes"));
  EXPECT_THAT(daemon_.calls(), testing::Contains("CancelEnrollment"));
}

TEST_F(EnrollTest, ATimeToWaitThatMakesNoSenseIsAUsageError) {
  for (const char* wait : {"soon", "5", "11m"}) {
    const Outcome outcome = Ctl({"enroll", "mercy", "--wait", wait});
    EXPECT_EQ(outcome.code, 2) << wait;
    EXPECT_THAT(outcome.err, HasSubstr("--wait")) << wait;
  }
  EXPECT_THAT(daemon_.calls(), Not(testing::Contains("BeginEnrollment")));
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
