// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/clients/child_process.h"
#include "tests/clients/fake_daemon.h"
#include "tests/clients/temp_dir.h"

// libsmartkey.so.1 in programs of its own, against the services of smartkey.v1 on a real unix
// socket: this program contains a gRPC of its own, and one is enough.
namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using testing::UnorderedElementsAreArray;

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome RunProgram(std::vector<std::string> argv, std::vector<std::string> environment) {
  ChildProcess child(std::move(argv), std::move(environment));
  const int code = child.Wait();
  return {code, child.out(), child.err()};
}

// With the compiler and tools of the build.
Outcome Shell(const std::string& command, std::vector<std::string> environment = {}) {
  environment.push_back("PATH=/usr/local/bin:/usr/bin:/bin");
  return RunProgram({"/bin/sh", "-ec", command}, std::move(environment));
}

class CLibrary : public testing::Test {
 protected:
  Outcome Probe(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), PROBE);
    environment.push_back("SMARTKEY_SOCKET=" + daemon_.path());
    return RunProgram(std::move(arguments), std::move(environment));
  }

  TempDir dir_;
  FakeDaemon daemon_{dir_.File("smartkeyd.sock")};
};

TEST_F(CLibrary, ATokenComesWithWhatBelongsToIt) {
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) {
    token.mutable_refresh_after()->set_seconds(4102444000);
    token.set_scope_narrowed(true);
    token.set_min_valid_unmet(true);
    token.set_patient("p-7");
    token.set_fhir_user("https://ehr.example.com/fhir/Patient/p-7");
    token.set_launch_context(R"({"encounter":"e"})");
  });
  const Outcome outcome = Probe({"token", "mercy"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "token Bearer fake-access-token-7f3a, expires 4102444800, refresh 4102444000\n"
            "base https://ehr.example.com/fhir, scope patient/*.rs, narrowed 1, min valid unmet 1\n"
            "patient p-7, user https://ehr.example.com/fhir/Patient/p-7, context "
            "{\"encounter\":\"e\"}, registration r-1 1\n");
  EXPECT_THAT(daemon_.token_request().scopes(), ElementsAre("patient/*.rs"));
  EXPECT_EQ(daemon_.token_request().min_valid().seconds(), 90);
}

TEST_F(CLibrary, ATokenIsFoundByContextToo) {
  const Outcome outcome =
      Probe({"token-by-context", "org.example.viewer", "https://ehr.example.com/fhir", "p-7"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(daemon_.token_request().context().app(), "org.example.viewer");
  EXPECT_EQ(daemon_.token_request().context().fhir_base(), "https://ehr.example.com/fhir");
  EXPECT_EQ(daemon_.token_request().context().patient(), "p-7");
}

TEST_F(CLibrary, AStaleTokenSaysWhy) {
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) {
    token.set_source(v1::STALE_VALID);
    token.mutable_refresh_error()->set_reason(v1::ErrorDetail::NO_NETWORK);
    token.mutable_refresh_error()->mutable_retry_after()->set_seconds(5);
  });
  EXPECT_THAT(Probe({"token", "mercy"}).out,
              HasSubstr("error 120 NO_NETWORK, action 1, exit code 5, retry after 5000\n"));
}

TEST_F(CLibrary, ATokenGoesToUrlsBelowItsBaseOnly) {
  const std::vector<std::string> allowed = {
      "https://ehr.example.com/fhir",
      "https://ehr.example.com/fhir/",
      "https://ehr.example.com/fhir/Patient/p-7",
      "https://ehr.example.com/fhir?_type=Patient",
      "https://ehr.example.com/fhir/Patient?next=https%3A%2F%2Felsewhere.example.com/../",
      "https://ehr.example.com/fhir/Patient/a..b",
  };
  const std::vector<std::string> refused = {
      "",
      "https://ehr.example.com/",
      "https://ehr.example.com/fhirx/Patient",
      "http://ehr.example.com/fhir/Patient",
      "https://ehr.example.com.elsewhere.example.com/fhir/Patient",
      "https://ehr.example.com@elsewhere.example.com/fhir/Patient",
      "https://ehr.example.com/fhir/../admin",
      "https://ehr.example.com/fhir/..",
      "https://ehr.example.com/fhir/./Patient",
      "https://ehr.example.com/fhir/%2e%2E/admin",
      "https://ehr.example.com/fhir/.%2e/admin",
      "https://ehr.example.com/fhir/..;/admin",
      "https://ehr.example.com/fhir/..;a=b/admin",
      "https://ehr.example.com/fhir/%2e.%3B/admin",
      "https://ehr.example.com/fhir/..%2Fadmin",
      "https://ehr.example.com/fhir/..%5cadmin",
      "https://ehr.example.com/fhir/..\\admin",
      "https://ehr.example.com/fhir/Patient\r\nX: y",
      "https://ehr.example.com/fhir/Patient p",
  };
  std::vector<std::string> arguments = {"allows"};
  std::string expected;
  for (const std::string& url : allowed) absl::StrAppend(&expected, "1 ", url, "\n");
  for (const std::string& url : refused) absl::StrAppend(&expected, "0 ", url, "\n");
  arguments.insert(arguments.end(), allowed.begin(), allowed.end());
  arguments.insert(arguments.end(), refused.begin(), refused.end());
  EXPECT_EQ(Probe(arguments).out, expected + "0 null\n");
  // A base that ends with a slash is the same one.
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) {
    token.set_fhir_base("https://ehr.example.com/fhir/");
  });
  EXPECT_EQ(Probe(arguments).out, expected + "0 null\n");
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) { token.clear_fhir_base(); });
  EXPECT_THAT(Probe(arguments).out, Not(HasSubstr("1 ht")));
}

TEST_F(CLibrary, ARejectedTokenIsReported) {
  EXPECT_EQ(Probe({"reject"}).code, 0);
  EXPECT_EQ(daemon_.rejected().registration(), "r-1");
  EXPECT_EQ(daemon_.rejected().access_token(), FakeDaemon::kToken);
}

TEST_F(CLibrary, AllPagesOfAListAreGiven) {
  const Outcome outcome = Probe({"list", "org.example.viewer", "mercy", ""});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("registration r-1 mercy, "));
  EXPECT_THAT(outcome.out,
              HasSubstr("registration r-2 mercy-2, label Mum, owner 1000 alice, own 0"));
  EXPECT_EQ(daemon_.list().filter().app(), "org.example.viewer");
  EXPECT_EQ(daemon_.list().filter().server(), "mercy");
  EXPECT_EQ(daemon_.list().filter().fhir_base(), "");
}

TEST_F(CLibrary, ARegistrationIsGivenFieldForField) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.set_state(v1::REAUTH_REQUIRED);
    registration.set_state_words("needs you: renew");
    registration.set_user_action(v1::ErrorDetail::RENEW);
    registration.mutable_cause()->set_reason(v1::ErrorDetail::REAUTH_REQUIRED);
    registration.mutable_suspended()->mutable_by()->set_uid(0);
    registration.mutable_expected_end()->mutable_time()->set_seconds(4102444800);
    registration.set_fhir_user("u-1");
  });
  const Outcome outcome = Probe({"show", "mercy"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            absl::StrCat(
                "registration r-1 mercy, label Mum, owner 1000 alice, own 1\n"
                "app org.example.viewer, server mercy, base https://ehr.example.com/fhir, scopes "
                "launch/patient patient/*.rs, patient p-7, user u-1\n"
                "state 6 REAUTH_REQUIRED needs you: renew, action 2, suspended 1, created "
                "1767225600, ends 4102444800\n"
                "error 101 REAUTH_REQUIRED, action 2, exit code 4, retry after -1\n\n",
                RowFor(Reason::kReauthRequired).remedy, "\n"));
}

// ---- Watching.

TEST_F(CLibrary, AWatchGivesEachStateAndItsEnd) {
  daemon_.FailWith(WireError(Reason::kAccessEnded));
  const Outcome outcome = Probe({"watch", "100"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "call: token fake-access-token-7f3a, error , ended 0\n"
            "call: token fake-access-token-7f3a, error SERVER_UNREACHABLE, ended 0\n"
            "call: token none, error SERVER_UNREACHABLE, ended 0\n"
            "call: token none, error ACCESS_ENDED, ended 1\n");
  EXPECT_EQ(daemon_.token_request().registration(), "mercy");
}

TEST_F(CLibrary, AWatchThatTheDaemonEndsSaysSo) {
  EXPECT_THAT(Probe({"watch", "100"}).out,
              testing::EndsWith("call: token none, error SHUTTING_DOWN, ended 1\n"));
}

TEST_F(CLibrary, AWatchStopsWhenItsFunctionSaysSo) {
  daemon_.Hang();
  const Outcome outcome = Probe({"watch", "1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "call: token fake-access-token-7f3a, error , ended 0\n");
}

TEST_F(CLibrary, AWatchThatIsFreedWhileItWaitsIsNotCalledAgain) {
  daemon_.Hang();
  const Outcome outcome = Probe({"watch-and-stop"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("ended 1")));
}

TEST_F(CLibrary, WatchWithoutAFunction_IsRefused) {
  const Outcome outcome = Probe({"watch-without-function"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, StartsWith("error 1 INVALID_ARGUMENT, "));
}

TEST_F(CLibrary, SignalsOfTheProgram_AreNotTakenByTheThreadOfAWatch) {
  daemon_.Hang();
  EXPECT_EQ(Probe({"watch-signals"}).out, "SIGTERM blocked: there 1, here 0\n");
}

// ---- Enrollment.

TEST_F(CLibrary, AnEnrollmentIsBegunAndCompleted) {
  const Outcome outcome = Probe({"enroll", "code=c&state=s"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              StartsWith("enrollment e-1 of r-1 at "
                         "https://ehr.example.com/authorize?redirect_uri=http://127.0.0.1:1/"
                         "callback&state=st4te, back at http://127.0.0.1:1/callback, expires 0\n"
                         "hosts ehr.example.com token.example.com, base "
                         "https://ehr.example.com/fhir, scopes system/DynamicClient.register, "
                         "warnings SAME_APP_SAME_SERVER\n"
                         "registration r-1 mercy, "));
  const v1::BeginEnrollmentRequest begin = daemon_.begin();
  EXPECT_EQ(begin.server(), "mercy");
  EXPECT_EQ(begin.app(), "org.example.viewer");
  EXPECT_THAT(begin.scopes(), ElementsAre("patient/*.rs", "launch/patient"));
  EXPECT_EQ(begin.name(), "mum");
  EXPECT_EQ(begin.label(), "Mum");
  EXPECT_EQ(begin.algorithm(), "ES384");
  EXPECT_TRUE(begin.context_varies());
  EXPECT_EQ(begin.renews(), "old");
  EXPECT_TRUE(begin.new_patient());
  EXPECT_EQ(begin.request_id(), "once");
  EXPECT_EQ(begin.access_for().seconds(), 86400);
  EXPECT_EQ(daemon_.complete().enrollment_id(), "e-1");
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=c&state=s");
}

TEST_F(CLibrary, AnEnrollmentIsGivenUp) {
  EXPECT_EQ(Probe({"enroll", "cancel"}).code, 0);
  EXPECT_THAT(daemon_.calls(), ElementsAre("BeginEnrollment", "CancelEnrollment"));
}

// ---- Errors.

TEST_F(CLibrary, AnErrorArrivesWithReasonRemedyAndRetryAfter) {
  daemon_.FailWith(WireError(WithRetryAfter(
      WithRemedy(MakeError(Reason::kTpmLockout, "the tpm is locked"), "wait for two hours"),
      absl::Seconds(7200))));
  const Outcome outcome = Probe({"token", "mercy"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_EQ(outcome.out,
            "error 156 TPM_LOCKOUT, action 5, exit code 4, retry after 7200000\n"
            "the tpm is locked\nwait for two hours\n");
}

TEST_F(CLibrary, EveryCallReportsItsFailure) {
  daemon_.FailWith(WireError(Reason::kServerBusy));
  for (const std::vector<std::string>& call : std::vector<std::vector<std::string>>{
           {"token", "mercy"}, {"list", "", "", ""}, {"show", "mercy"}, {"enroll", "code=c"}}) {
    const Outcome outcome = Probe(call);
    EXPECT_EQ(outcome.code, 5) << call[0];
    EXPECT_THAT(outcome.out, StartsWith("error 122 SERVER_BUSY, action 1, ")) << call[0];
  }
}

TEST_F(CLibrary, TheDeadlineOfACallIsKept) {
  daemon_.Hang();
  EXPECT_THAT(Probe({"token-within", "50"}).out, StartsWith("error 3 DEADLINE_EXCEEDED, "));
}

TEST_F(CLibrary, NoDaemonIsNoticedAtOnce) {
  const Outcome outcome =
      RunProgram({PROBE, "token", "mercy"}, {"SMARTKEY_SOCKET=/nonexistent/s.sock"});
  EXPECT_EQ(outcome.code, 6);
  EXPECT_THAT(outcome.out, StartsWith("error 230 DAEMON_NOT_INSTALLED, action 7, exit code 6"));
}

TEST_F(CLibrary, NothingCanBeFreedAndNoErrorCanBeRead) {
  const Outcome outcome = Probe({"nothing"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, StartsWith("error 0 , action 0, exit code 0, retry after -1\n\n\n"
                                      "error 1 INVALID_ARGUMENT, "));
}

TEST_F(CLibrary, ManyThreadsShareOneClient) {
  EXPECT_EQ(Probe({"threads"}).code, 0);
}

TEST_F(CLibrary, AChildOfAProcessThatHasConnectedIsRefusedAndTheParentGoesOn) {
  // What only threads of the parent hold looks lost in the child, whom a sanitizer would end for
  // it.
  const Outcome outcome = Probe({"fork", daemon_.path()}, {"ASAN_OPTIONS=detect_leaks=0"});
  EXPECT_EQ(outcome.code, 2) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("error 1 INVALID_ARGUMENT, "));
  EXPECT_THAT(outcome.out, HasSubstr("connect after fork()"));
}

#ifdef WIPING_PROBE
TEST_F(CLibrary, TheLastFreeOfATokenOverwritesItsValue) {
  const Outcome outcome = RunProgram({WIPING_PROBE}, {"SMARTKEY_SOCKET=" + daemon_.path()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "after the first: 0\nafter the last: 1, wiped 1\n");
}
#endif

TEST_F(CLibrary, TheHeaderForCxxHasTheSameCallsAndThrows) {
  const Outcome outcome = RunProgram({WRAPPER_PROBE}, {"SMARTKEY_SOCKET=" + daemon_.path()});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.out,
              StartsWith("Bearer fake-access-token-7f3a 4102444800 0\n10\n"
                         "2 registrations\nmercy\nenrolled r-1\n"
                         "well\nSERVER_UNREACHABLE\nSERVER_UNREACHABLE\nSHUTTING_DOWN\n"
                         "kept fake-access-token-7f3a\n"
                         "replaced, its function was there: 1\n"));
  EXPECT_THAT(outcome.out, HasSubstr("\nREGISTRATION_NOT_FOUND 6 0\n"));
  EXPECT_EQ(daemon_.rejected().access_token(), FakeDaemon::kToken);
}

// ---- What is installed.

// The first group of each place in smartkey.h where this fits.
std::vector<std::string> FoundInHeader(const std::string& expression) {
  std::ostringstream header;
  header << std::ifstream(HEADER_FOLDER "/smartkey.h").rdbuf();
  const std::string text = header.str();
  const std::regex regex(expression);
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    found.push_back((*it)[1]);
  }
  return found;
}

TEST(CLibraryFile, ExportsTheFunctionsOfItsHeaderAndNothingElse) {
  const Outcome outcome = Shell("LC_ALL=C nm -D --defined-only '" LIBRARY "'");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::vector<std::string> exported;
  for (const absl::string_view line : absl::StrSplit(outcome.out, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    ASSERT_EQ(words.size(), 3u) << line;
    if (words[1] == "A") continue;  // The version itself.
    const std::vector<std::string> name = absl::StrSplit(words[2], "@@");
    EXPECT_EQ(words[1], "T") << line;
    ASSERT_EQ(name.size(), 2u) << line;
    EXPECT_THAT(name[1], StartsWith("LIBSMARTKEY_1.")) << line;
    exported.push_back(name[0]);
  }
  const auto declared = FoundInHeader(R"(\nSMARTKEY_API [^;(]*?(smartkey_\w+)\()");
  EXPECT_THAT(declared, Not(IsEmpty()));
  EXPECT_THAT(exported, UnorderedElementsAreArray(declared));
}

TEST(CLibraryFile, RegistersNoMessagesWithProtobuf) {
  const Outcome outcome = Shell("nm -DC --undefined-only '" LIBRARY "'");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("google::protobuf::"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("AddDescriptors")));
}

TEST(CLibraryFile, SaysItsVersion) {
  EXPECT_EQ(RunProgram({PROBE, "version"}, {}).out, SMARTKEY_VERSION "\n");
}

TEST(CLibraryHeader, NumbersReasonsActionsAndStatesAsTheProtoDoes) {
  std::vector<std::string> expected;
  for (const ReasonRow& row : AllReasons()) {
    expected.push_back(absl::StrCat("REASON_", row.name, " = ", static_cast<int>(row.reason)));
  }
  for (const UserActionRow& row : AllUserActions()) {
    expected.push_back(absl::StrCat("ACTION_", absl::StripPrefix(row.name, "USER_ACTION_"), " = ",
                                    static_cast<int>(row.action)));
  }
  for (int number = 0; number < v1::RegistrationState_ARRAYSIZE; ++number) {
    const std::string& name = v1::RegistrationState_Name(number);
    expected.push_back(
        absl::StrCat("STATE_", absl::StripPrefix(name, "REGISTRATION_STATE_"), " = ", number));
  }
  EXPECT_THAT(FoundInHeader(R"(\n  SMARTKEY_(\w+ = \d+),)"), UnorderedElementsAreArray(expected));
}

TEST(CLibraryHeader, CompilesAsC11AndAsCxx17) {
  const std::string flags =
      " -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I'" HEADER_FOLDER "' ";
  Outcome outcome = Shell(C_COMPILER " -std=c11 -Wstrict-prototypes" + flags +
                          "-include smartkey.h -x c /dev/null");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string header : {"smartkey.h", "smartkey.hpp"}) {
    outcome =
        Shell(CXX_COMPILER " -std=c++17" + flags + "-include " + header + " -x c++ /dev/null");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  }
}

// As its README says it is used.
TEST_F(CLibrary, TheExampleOfItsReadmeBuildsAgainstTheInstalledLibraryAndRuns) {
  const std::string root = dir_.File("root");
  const std::string libraries = root + INSTALL_LIBDIR;
  Outcome outcome = Shell("'" CMAKE "' -P '" INSTALL_SCRIPT "'", {"DESTDIR=" + root});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  outcome = Shell("cd '" + dir_.File("") +
                      "'; cp '" README_EXAMPLE "' viewer.c; " README_COMMAND " " SANITIZE_FLAGS,
                  {"PKG_CONFIG_PATH=" + libraries + "/pkgconfig", "PKG_CONFIG_SYSROOT_DIR=" + root,
                   "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS=1"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;

  const std::string viewer = dir_.File("viewer");
  outcome =
      RunProgram({viewer}, {"LD_LIBRARY_PATH=" + libraries, "SMARTKEY_SOCKET=" + daemon_.path()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "https://ehr.example.com/fhir until 2100-01-01, "
            "https://ehr.example.com/fhir/Patient/p-7\n");
  EXPECT_THAT(outcome.err, IsEmpty());

  outcome = RunProgram({viewer},
                       {"LD_LIBRARY_PATH=" + libraries, "SMARTKEY_SOCKET=" + dir_.File("none")});
  EXPECT_EQ(outcome.code, 6);
  EXPECT_THAT(outcome.err, HasSubstr("systemctl start smartkeyd.service"));
}

}  // namespace
}  // namespace smartkey
