// SPDX-License-Identifier: Apache-2.0
#include "tests/support/swtpm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

constexpr absl::Duration kStartLimit = absl::Seconds(20);
constexpr absl::Duration kEndLimit = absl::Seconds(5);
constexpr absl::Duration kPoll = absl::Milliseconds(5);

bool Listens(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

absl::StatusOr<std::string> MakeDirectory() {
  std::string path = absl::StrCat(testing::TempDir(), "/swtpm-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("mkdtemp: ", std::strerror(errno)));
  }
  return std::filesystem::canonical(path).string();
}

// What the child does: nothing that is unsafe between fork and exec.
[[noreturn]] void Become(char* const argv[], int log_fd, pid_t parent) {
  // A crashed test must not leave it behind. (Sent when the thread that forked ends.)
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  ::execvp(argv[0], argv);
  ::_exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Swtpm>> Swtpm::Start() {
  absl::StatusOr<std::string> directory = MakeDirectory();
  if (!directory.ok()) return directory.status();
  std::unique_ptr<Swtpm> tpm(new Swtpm(*std::move(directory)));
  std::filesystem::create_directory(tpm->state_directory());
  if (absl::Status status = tpm->PowerOn(); !status.ok()) return status;
  return tpm;
}

absl::StatusOr<std::unique_ptr<Swtpm>> Swtpm::StartFrom(const std::string& state_directory) {
  absl::StatusOr<std::string> directory = MakeDirectory();
  if (!directory.ok()) return directory.status();
  std::unique_ptr<Swtpm> tpm(new Swtpm(*std::move(directory)));
  std::error_code error;
  std::filesystem::copy(state_directory, tpm->state_directory(),
                        std::filesystem::copy_options::recursive, error);
  if (error) return absl::NotFoundError(absl::StrCat(state_directory, ": ", error.message()));
  if (absl::Status status = tpm->PowerOn(); !status.ok()) return status;
  return tpm;
}

Swtpm::~Swtpm() {
  Kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::Status Swtpm::PowerOn() {
  if (pid_ > 0) return absl::FailedPreconditionError("swtpm is running");
  const std::string control = absl::StrCat(socket_path(), ".ctrl");  // where the TCTI expects it
  ::unlink(socket_path().c_str());
  ::unlink(control.c_str());
  std::vector<std::string> command = {
      "swtpm",
      "socket",
      "--tpm2",
      "--tpmstate",
      absl::StrCat("dir=", state_directory()),
      "--server",
      absl::StrCat("type=unixio,path=", socket_path()),
      "--ctrl",
      absl::StrCat("type=unixio,path=", control),
      "--flags",
      "not-need-init,startup-clear",
  };
  const std::string log = absl::StrCat(directory_, "/log");
  const UniqueFd log_fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) return absl::InternalError(absl::StrCat("fork: ", std::strerror(errno)));
  if (pid_ == 0) Become(argv.data(), log_fd.get(), parent);

  const absl::Time give_up = absl::Now() + kStartLimit;
  while (!Listens(socket_path()) || !Listens(control)) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return absl::UnavailableError(WIFEXITED(status) && WEXITSTATUS(status) == 127
                                        ? "swtpm cannot be started: is the package swtpm installed?"
                                        : absl::StrCat("swtpm ended at once, see ", log));
    }
    if (absl::Now() > give_up) return absl::UnavailableError("swtpm does not listen");
    absl::SleepFor(kPoll);
  }
  return absl::OkStatus();
}

void Swtpm::Kill() {
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

absl::Status Swtpm::Restart() {
  Kill();
  return PowerOn();
}

absl::Status Swtpm::Replace() {
  Kill();
  std::error_code error;
  std::filesystem::remove_all(state_directory(), error);
  std::filesystem::create_directory(state_directory(), error);
  if (error) return absl::InternalError(error.message());
  return PowerOn();
}

void Swtpm::Freeze() {
  if (pid_ > 0) ::kill(pid_, SIGSTOP);
}

void Swtpm::Thaw() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

}  // namespace smartkey
