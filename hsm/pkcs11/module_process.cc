// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/module_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"

namespace smartkey {
namespace {

// Not absl::Now(): somebody may set the clock meanwhile.
using SteadyTime = std::chrono::steady_clock::time_point;

SteadyTime In(absl::Duration limit) {
  return std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(limit);
}

constexpr absl::Duration kPoll = absl::Milliseconds(1);
// A killed process is gone in no time, unless a driver holds it.
constexpr absl::Duration kKillLimit = absl::Seconds(2);

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Everything that follows up to exec runs in the child of a process with many threads: system calls
// only, nothing that takes a lock or memory (fork(2), signal-safety(7)).

// Our own handlers are nothing to it; ignored signals would stay ignored through exec.
void ResetSignals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The first connection that `parent` makes. Others of the same user could come to the socket, too.
int AcceptFrom(int listener, pid_t parent) {
  for (;;) {
    const int connection = ::accept(listener, nullptr, nullptr);
    if (connection < 0 && errno == EINTR) continue;
    if (connection < 0) return -1;
    ucred peer = {};
    socklen_t size = sizeof(peer);
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        peer.pid == parent) {
      return connection;
    }
    ::close(connection);
  }
}

[[noreturn]] void Become(char* const argv[], char* const environment[], int listener,
                         pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) {
    ::_exit(ModuleProcess::kSetupFailed);
  }
  ::setsid();
  ResetSignals();
  const rlimit no_core = {0, 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0 || ::chdir("/") != 0) {
    ::_exit(ModuleProcess::kSetupFailed);
  }
  // Accepting here spares waiting until a server listens: the connection waits for the server.
  const int connection = AcceptFrom(listener, parent);
  if (connection < 0 || ::dup2(connection, STDIN_FILENO) < 0 ||
      ::dup2(connection, STDOUT_FILENO) < 0 || ::close_range(STDERR_FILENO + 1, ~0U, 0) != 0) {
    ::_exit(ModuleProcess::kSetupFailed);
  }
  ::execve(argv[0], argv, environment);
  ::_exit(ModuleProcess::kProgramMissing);
}

// The process and its session. Its pid must not have been reaped: until then the number is not
// anybody else's, neither as a process nor as a group.
void KillSession(pid_t pid) {
  ::kill(pid, SIGKILL);  // it may not lead its group yet
  ::kill(-pid, SIGKILL);
}

}  // namespace

void ModuleProcess::Prepare() {
  MutexLock lock(mu_);
  kill_asked_ = false;
}

bool ModuleProcess::kill_asked() const {
  MutexLock lock(mu_);
  return kill_asked_;
}

absl::Status ModuleProcess::Start(const Options& options, int listener) {
  std::vector<std::string> words = {options.program, "remote", options.module_path};
  // What is on this machine for its users is not what a system service is to be configured by.
  std::vector<std::string> entries = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                      "P11_KIT_NO_USER_CONFIG=1"};
  for (const auto& [name, value] : options.environment) {
    entries.push_back(absl::StrCat(name, "=", value));
  }
  const std::vector<char*> argv = Pointers(words);
  const std::vector<char*> environment = Pointers(entries);
  const pid_t parent = ::getpid();

  MutexLock lock(mu_);
  if (kill_asked_) {
    return MakeError(Reason::kHardwareDegraded, "pkcs11: interrupted while starting the module");
  }
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // Without the fork handlers of libraries, p11-kit's among them, which take locks that another
  // thread may hold (libp11 issue 156).
  pid_ = ::_Fork();
  if (pid_ == 0) Become(argv.data(), environment.data(), listener, parent);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid_ < 0) {
    return MakeError(Reason::kHardwareBusy,
                     absl::StrCat("pkcs11: no process for the module: ", std::strerror(error)));
  }
  return absl::OkStatus();
}

void ModuleProcess::Kill() {
  MutexLock lock(mu_);
  kill_asked_ = true;
  if (pid_ > 0) KillSession(pid_);
}

bool ModuleProcess::HasEnded(absl::Duration limit) const {
  const SteadyTime give_up = In(limit);
  for (;;) {
    siginfo_t info = {};
    // Not reaped yet: Kill must not meet a recycled number.
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      return errno != EINTR;  // somebody else has reaped it
    }
    if (info.si_pid == pid_) return true;
    if (std::chrono::steady_clock::now() >= give_up) return false;
    absl::SleepFor(kPoll);
  }
}

absl::optional<ModuleProcess::WaitStatus> ModuleProcess::End(absl::Duration grace) {
  if (pid_ <= 0) return absl::nullopt;
  bool ended = HasEnded(grace);
  if (!ended) {
    KillSession(pid_);
    ended = HasEnded(kKillLimit);
  }
  MutexLock lock(mu_);
  KillSession(pid_);  // helpers that a module has started outlive it otherwise
  WaitStatus status = 0;
  const bool reaped = ::waitpid(pid_, &status, ended ? 0 : WNOHANG) == pid_;
  pid_ = -1;
  return reaped ? absl::make_optional(status) : absl::nullopt;
}

KillTimer::KillTimer(ModuleProcess& process, absl::Duration limit) {
  try {
    thread_ = std::thread([this, &process, limit] { Run(process, limit); });
  } catch (const std::system_error&) {
    // No more threads: then there is no limit but the one that whoever calls Kill has.
  }
}

KillTimer::~KillTimer() {
  {
    MutexLock lock(mu_);
    over_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void KillTimer::Run(ModuleProcess& process, absl::Duration limit) {
  const SteadyTime give_up = In(limit);
  {
    MutexLock lock(mu_);
    while (!over_) {
      const auto left = give_up - std::chrono::steady_clock::now();
      if (left <= std::chrono::steady_clock::duration::zero()) break;
      changed_.WaitFor(mu_, absl::FromChrono(left));
    }
    if (over_) return;
  }
  process.Kill();
}

}  // namespace smartkey
