// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/mutex.h"

namespace smartkey {

// The process that a vendor's PKCS#11 module runs in: `p11-kit remote MODULE`, which serves one
// connection over its standard input and output and ends with it.
//
// It has nothing of ours: no descriptors but the connection and the standard error stream, an
// environment of its own, default signals, no core dumps (it sees the PIN). It leads a session, and
// whatever the module starts in it ends with it. The kernel kills it when the thread that called
// Start ends, so a killed daemon leaves none behind.
//
// One thread starts and ends it; any thread may call Kill.
class ModuleProcess {
 public:
  struct Options {
    std::string program = "/usr/bin/p11-kit";
    std::string module_path;
    // All it has beside PATH.
    std::map<std::string, std::string> environment;
  };

  // How it ended, as waitpid(2) says.
  using WaitStatus = int;
  // Exit codes of its own: before the program runs, and if it cannot be run.
  static constexpr int kSetupFailed = 126;
  static constexpr int kProgramMissing = 127;

  ModuleProcess() = default;
  ~ModuleProcess() { End(absl::ZeroDuration()); }
  ModuleProcess(const ModuleProcess&) = delete;
  ModuleProcess& operator=(const ModuleProcess&) = delete;

  // Forgets a Kill that came before. To be called before Start.
  void Prepare();
  // Whether Kill has been called since Prepare.
  bool kill_asked() const;

  // Starts it; it accepts the first connection of this process to `listener`. None may be running.
  // Errors: kHardwareBusy (no process can be made), kHardwareDegraded (killed since Prepare).
  absl::Status Start(const Options& options, int listener);

  // Kills it and what it has started, now or as soon as it is started. Returns at once. A process
  // that a driver holds inside the kernel ends only when that lets go of it.
  void Kill();

  // Gives it `grace` to end by itself, kills it and what is left of its session, and reaps it.
  // Absent: nothing was running; or it cannot even be killed, and is given up.
  absl::optional<WaitStatus> End(absl::Duration grace);

 private:
  bool HasEnded(absl::Duration limit) const;

  pid_t pid_ = -1;  // written by the owner under mu_, so that the owner may read it without
  mutable Mutex mu_;
  bool kill_asked_ ABSL_GUARDED_BY(mu_) = false;
};

// Kills a process unless this ends within the limit.
class KillTimer {
 public:
  KillTimer(ModuleProcess& process, absl::Duration limit);
  ~KillTimer();  // whether it was killed or not: nothing happens any more
  KillTimer(const KillTimer&) = delete;
  KillTimer& operator=(const KillTimer&) = delete;

 private:
  void Run(ModuleProcess& process, absl::Duration limit);

  Mutex mu_;
  CondVar changed_;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace smartkey
