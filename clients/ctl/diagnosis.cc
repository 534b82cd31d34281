// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/diagnosis.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

extern char** environ;

namespace smartkey::ctl {
namespace {

using client::DiagnosticResult;

constexpr char kClient[] = "client";
constexpr size_t kMostOutput = 16 * 1024;

struct Output {
  int exit_code = -1;  // -1: it could not be run
  std::string text;    // what it wrote, standard error too
};

Output RunProgram(std::vector<std::string> arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  writing.reset();
  if (failed != 0) return {};
  Output output;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(reading.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (output.text.size() < kMostOutput) output.text.append(buffer, static_cast<size_t>(n));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  output.text = std::string(absl::StripAsciiWhitespace(output.text));
  return output;
}

DiagnosticResult Result(uint32_t number, const char* check, const char* outcome,
                        std::string finding, std::string remedy = "") {
  DiagnosticResult result;
  result.number = number;
  result.area = kClient;
  result.check = check;
  result.outcome = outcome;
  result.finding = std::move(finding);
  result.remedy = std::move(remedy);
  return result;
}

DiagnosticResult CheckSocket(const Session& session) {
  const std::string path = session.socket.empty() ? client::PublicSocketPath() : session.socket;
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    return Result(1, "socket", "BROKEN", absl::StrCat(path, ": ", strerror(errno)),
                  "is smartkeyd installed? 'systemctl start smartkeyd.socket', or set "
                  "SMARTKEY_SOCKET");
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Result(1, "socket", "BROKEN", absl::StrCat(path, " is no socket"),
                  "take it away, then 'systemctl restart smartkeyd.socket'");
  }
  auto client = session.Connect();
  const absl::Status answer = client.ok() ? (*client)->GetServerInfo().status() : client.status();
  if (!answer.ok()) {
    return Result(1, "socket", "BROKEN", absl::StrCat(path, ": ", answer.message()),
                  RemedyOf(answer));
  }
  return Result(1, "socket", "PASSED", absl::StrCat(path, " answers"));
}

DiagnosticResult CheckUnit(const DiagnosisOptions& options) {
  const Output output = RunProgram({options.systemctl, "show", "smartkeyd.service", "--property",
                                    "LoadState,ActiveState,SubState,NRestarts,Result"});
  if (output.exit_code != 0) {
    return Result(2, "unit", "SKIPPED", "systemd does not answer here");
  }
  std::string finding = output.text;
  for (char& c : finding) c = c == '\n' ? ' ' : c;
  if (absl::StrContains(output.text, "LoadState=not-found")) {
    return Result(2, "unit", "SUSPICIOUS", "there is no smartkeyd.service",
                  "install the package smartkeyd, or start smartkeyd by other means");
  }
  if (!absl::StrContains(output.text, "ActiveState=active")) {
    return Result(2, "unit", "BROKEN", finding,
                  "'systemctl start smartkeyd'; 'journalctl -u smartkeyd' says why it ended");
  }
  return Result(2, "unit", "PASSED", finding);
}

// Not broken: the service may well read what you may not.
DiagnosticResult ClosedToYou(const std::string& file) {
  return Result(3, "configuration", "SKIPPED", absl::StrCat(file, " cannot be read by you"),
                "run this as root");
}

bool IsClosedToYou(const std::string& file) {
  return access(file.c_str(), R_OK) != 0 && errno == EACCES;
}

// More than one if the file has several mistakes.
std::vector<DiagnosticResult> CheckConfigFile(const DiagnosisOptions& options) {
  if (IsClosedToYou(options.config)) return {ClosedToYou(options.config)};
  if (access(options.config.c_str(), F_OK) != 0) {
    return {Result(3, "configuration", "SUSPICIOUS",
                   absl::StrCat(options.config, ": ", strerror(errno)),
                   "the package installs one; smartkeyd does not start without")};
  }
  const Output output =
      RunProgram({options.smartkeyd, "--config", options.config, "--check-config"});
  if (output.exit_code < 0 || output.exit_code == 127) {
    return {Result(3, "configuration", "SKIPPED", absl::StrCat("there is no ", options.smartkeyd))};
  }
  if (output.exit_code == 0) {
    return {Result(3, "configuration", "PASSED", absl::StrCat(options.config, " is right"))};
  }
  std::vector<DiagnosticResult> mistakes;
  for (const absl::string_view line : absl::StrSplit(output.text, '\n')) {
    // What is said of a file as a whole follows its name.
    if (const std::string file(line.substr(0, line.find(": "))); IsClosedToYou(file)) {
      mistakes.push_back(ClosedToYou(file));
      continue;
    }
    mistakes.push_back(
        Result(3, "configuration", "BROKEN", std::string(line),
               "mend the file, then 'systemctl restart smartkeyd' or 'smartkeyctl reload'"));
  }
  return mistakes;
}

// Why it ended, in its own words; asked for only when it does not answer.
DiagnosticResult CheckJournal(const DiagnosisOptions& options) {
  const Output output = RunProgram({options.journalctl, "--unit", "smartkeyd.service", "--priority",
                                    "err", "--lines", "1", "--output", "cat", "--quiet"});
  if (output.exit_code != 0) {
    return Result(4, "journal", "SKIPPED", "the journal cannot be read by you",
                  "run this as root, or as a member of the group systemd-journal");
  }
  if (!output.text.empty()) {
    const std::string error = absl::StrReplaceAll(output.text, {{"\n", "; "}});
    return Result(4, "journal", "SUSPICIOUS", absl::StrCat("the last error: ", error),
                  "see 'journalctl -u smartkeyd'");
  }
  // A journal that is not there, or is not shown to you, holds no error either.
  const Output any = RunProgram({options.journalctl, "--unit", "smartkeyd.service", "--lines", "1",
                                 "--output", "cat", "--quiet"});
  if (any.exit_code != 0 || any.text.empty()) {
    return Result(4, "journal", "SKIPPED",
                  "there is nothing of smartkeyd in a journal that you see",
                  "run this as root; where there is no journal, see where smartkeyd's output goes");
  }
  return Result(4, "journal", "PASSED", "holds no error of smartkeyd");
}

// What to do where the admin socket does not answer.
std::string AdminRemedy(const Session& session, const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  if (reason == Reason::kNotPermitted) {
    return "run this as root, or as a member of the administrators' group";
  }
  const bool nobody_there =
      reason == Reason::kDaemonNotInstalled || reason == Reason::kDaemonNotRunning;
  if (nobody_there && CheckSocket(session).outcome == "PASSED") {
    return "administration has a socket of its own, which SMARTKEY_SOCKET does not name: give it "
           "with --socket, or 'systemctl start smartkeyd.service'";
  }
  return RemedyOf(status);
}

}  // namespace

void Diagnose(const Session& session, const DiagnosisOptions& options,
              const std::function<void(const DiagnosticResult&)>& tell) {
  bool answers = true;
  if (options.area.empty() || options.area == kClient) {
    const DiagnosticResult socket = CheckSocket(session);
    answers = socket.outcome == "PASSED";
    tell(socket);
    tell(CheckUnit(options));
    for (const DiagnosticResult& result : CheckConfigFile(options)) tell(result);
    if (!answers) tell(CheckJournal(options));
  }
  if (options.area == kClient) return;
  auto admin = session.ConnectAdmin();
  const absl::Status status =
      admin.ok() ? (*admin)->RunDiagnostics(options.area, options.server, tell) : admin.status();
  if (status.ok()) return;
  const bool not_allowed = ReasonOf(status) == Reason::kNotPermitted;
  tell(Result(5, "smartkeyd's own checks", not_allowed ? "SKIPPED" : "BROKEN",
              std::string(status.message()), AdminRemedy(session, status)));
}

std::string DiagnosticText(const DiagnosticResult& result) {
  const char* word = "  ?   ";
  if (result.outcome == "PASSED") word = "  ok  ";
  if (result.outcome == "SUSPICIOUS") word = " look ";
  if (result.outcome == "BROKEN") word = " BAD  ";
  if (result.outcome == "SKIPPED") word = "  --  ";
  constexpr size_t kIndent = 11;
  std::string text = absl::StrCat(absl::StrFormat("%3d  ", result.number), word,
                                  WrapWords(absl::StrCat(TerminalText(result.check, 64), ": ",
                                                         TerminalText(result.finding, 1024)),
                                            kIndent, kTerminalColumns),
                                  "\n");
  if (!result.remedy.empty()) {
    absl::StrAppend(
        &text, std::string(kIndent, ' '),
        WrapWords(absl::StrCat("-> ", TerminalText(result.remedy, 512)), kIndent, kTerminalColumns),
        "\n");
  }
  return text;
}

}  // namespace smartkey::ctl
