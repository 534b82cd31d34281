// SPDX-License-Identifier: Apache-2.0
#include "tests/support/started_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"

namespace smartkey {
namespace {

constexpr absl::Duration kEndLimit = absl::Seconds(5);
constexpr absl::Duration kPoll = absl::Milliseconds(5);
constexpr int kNotStarted = 127;

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Our own environment with `changes`.
std::vector<std::string> EnvironmentWith(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string name(*entry, std::strcspn(*entry, "="));
    if (changes.count(name) == 0) all.push_back(*entry);
  }
  for (const auto& [name, value] : changes) all.push_back(absl::StrCat(name, "=", value));
  return all;
}

// What the child does: nothing that is unsafe between fork and exec.
[[noreturn]] void Become(char* const argv[], char* const environment[], int log_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kNotStarted);
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  ::execvpe(argv[0], argv, environment);
  ::_exit(kNotStarted);
}

pid_t Fork(std::vector<std::string> words, const std::map<std::string, std::string>& changes,
           int log_fd) {
  std::vector<std::string> entries = EnvironmentWith(changes);
  const std::vector<char*> argv = Pointers(words);
  const std::vector<char*> environment = Pointers(entries);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) Become(argv.data(), environment.data(), log_fd, parent);
  return pid;
}

}  // namespace

StartedProcess& StartedProcess::operator=(StartedProcess&& other) noexcept {
  if (this != &other) {
    End();
    pid_ = std::exchange(other.pid_, -1);
  }
  return *this;
}

absl::StatusOr<StartedProcess> StartedProcess::Start(const Options& options) {
  const std::string log = options.log.empty() ? "/dev/null" : options.log;
  const UniqueFd log_fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const pid_t pid = Fork(options.argv, options.environment, log_fd.get());
  if (pid < 0) return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));

  StartedProcess process(pid);
  const absl::Time give_up = absl::Now() + options.limit;
  while (options.ready && !options.ready()) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      process.pid_ = -1;
      const bool missing = WIFEXITED(status) && WEXITSTATUS(status) == kNotStarted;
      return absl::UnavailableError(
          absl::StrCat(options.argv[0],
                       missing ? " cannot be started: is it installed?" : " ended at once, see ",
                       missing ? "" : log));
    }
    if (absl::Now() > give_up) {
      return absl::UnavailableError(absl::StrCat(options.argv[0], " is not ready, see ", log));
    }
    absl::SleepFor(kPoll);
  }
  return process;
}

void StartedProcess::End() {
  if (pid_ <= 0) return;
  Thaw();  // a stopped process does not see SIGTERM
  ::kill(pid_, SIGTERM);
  const absl::Time give_up = absl::Now() + kEndLimit;
  while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (absl::Now() > give_up) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      break;
    }
    absl::SleepFor(kPoll);
  }
  pid_ = -1;
}

void StartedProcess::Freeze() {
  if (pid_ > 0) ::kill(pid_, SIGSTOP);
}

void StartedProcess::Thaw() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

absl::Status RunProgram(const std::vector<std::string>& argv,
                        const std::map<std::string, std::string>& environment) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = Fork(argv, environment, writer.get());
  if (pid < 0) return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));
  writer.reset();
  std::string output;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(reader.get(), buffer, sizeof(buffer))) > 0) {
    output.append(buffer, static_cast<size_t>(got));
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status == 0) return absl::OkStatus();
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotStarted) {
    return absl::UnavailableError(absl::StrCat(argv[0], " cannot be started: is it installed?"));
  }
  return absl::InternalError(absl::StrCat(argv[0], " ended with ", status, ": ", output));
}

bool ListensOn(const std::string& socket_path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

}  // namespace smartkey
