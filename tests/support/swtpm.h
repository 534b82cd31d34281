// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace smartkey {

// A TPM of its own for one test: a real swtpm process with a state directory and sockets in a
// temporary directory, both gone when this ends. Found by PATH; a missing swtpm is an error, never
// a reason to skip. Not thread-safe.
//
// swtpm has no resource manager: three transient slots for everybody who uses the TCTI.
class Swtpm {
 public:
  // A new, empty TPM, running and started.
  static absl::StatusOr<std::unique_ptr<Swtpm>> Start();
  // A TPM on a copy of a state directory, for instance one that an earlier release has left.
  static absl::StatusOr<std::unique_ptr<Swtpm>> StartFrom(const std::string& state_directory);

  ~Swtpm();
  Swtpm(const Swtpm&) = delete;
  Swtpm& operator=(const Swtpm&) = delete;

  // For tpm2-tss and tpm2-tools: "swtpm:path=...". The same for as long as this lives.
  std::string tcti() const { return "swtpm:path=" + socket_path(); }
  std::string state_directory() const { return directory_ + "/state"; }
  pid_t pid() const { return pid_; }

  // Ends the process: the hardware is not there. Nothing that is written down is lost.
  void Kill();
  // Starts it again after Kill, as after a reboot: TPM2_Startup(CLEAR).
  absl::Status PowerOn();
  // Kill and PowerOn: a reboot.
  absl::Status Restart();
  // Another TPM where this one was: all state is thrown away.
  absl::Status Replace();

  // Stops the process from answering, and lets it go on. A call that is under way hangs meanwhile.
  void Freeze();
  void Thaw();

 private:
  explicit Swtpm(std::string directory) : directory_(std::move(directory)) {}

  std::string socket_path() const { return directory_ + "/sock"; }

  const std::string directory_;  // absolute: swtpm needs that
  pid_t pid_ = -1;
};

}  // namespace smartkey
