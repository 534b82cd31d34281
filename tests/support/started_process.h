// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace smartkey {

// A program that runs beside a test, ended by its pid when this ends, and by the kernel when the
// thread that started it does. Not thread-safe.
class StartedProcess {
 public:
  StartedProcess() = default;  // nothing is running
  ~StartedProcess() { End(); }
  StartedProcess(StartedProcess&& other) noexcept : pid_(other.pid_) { other.pid_ = -1; }
  StartedProcess& operator=(StartedProcess&& other) noexcept;

  struct Options {
    std::vector<std::string> argv;                   // the program is found by PATH
    std::map<std::string, std::string> environment;  // on top of our own
    std::string log;  // where both output streams are appended; empty: nowhere
    // Says whether it is ready to be used. Asked again until it is, it ends, or `limit` has passed.
    std::function<bool()> ready;
    absl::Duration limit = absl::Seconds(20);
  };
  // Errors name the program and, if there is one, the log.
  static absl::StatusOr<StartedProcess> Start(const Options& options);

  pid_t pid() const { return pid_; }  // -1: nothing is running

  // SIGTERM, and SIGKILL if that does not help for five seconds. A stopped process is continued.
  void End();

  // Stops it from answering, and lets it go on.
  void Freeze();
  void Thaw();

 private:
  explicit StartedProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
};

// Runs a program to its end. Errors: it cannot be started, or does not end with 0; then what it
// wrote is in the message. `environment` is on top of our own.
absl::Status RunProgram(const std::vector<std::string>& argv,
                        const std::map<std::string, std::string>& environment = {});

// True if somebody accepts connections on this unix socket.
bool ListensOn(const std::string& socket_path);

}  // namespace smartkey
