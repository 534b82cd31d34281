// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/started_process.h"

namespace smartkey {

// A resource manager for one TPM: tpm2-abrmd on a session bus of its own, both in a temporary
// directory and gone when this ends. Several processes then use the TPM at once, each with its own
// objects and sessions, as with a /dev/tpmrm0. Programs are found by PATH; a missing one is an
// error, never a reason to skip. Not thread-safe.
//
//   absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
//   auto manager = TpmResourceManager::Start((*tpm)->tcti());
//   (*manager)->UseInThisProcess();
//   EsysContext::Create((*manager)->tcti());
//
// The manager is the TPM's only user by contract: nobody else may open the tcti it was given.
class TpmResourceManager {
 public:
  // `tpm_tcti`: where the TPM is, "swtpm:path=...". It must be running.
  static absl::StatusOr<std::unique_ptr<TpmResourceManager>> Start(const std::string& tpm_tcti);

  ~TpmResourceManager();
  TpmResourceManager(const TpmResourceManager&) = delete;
  TpmResourceManager& operator=(const TpmResourceManager&) = delete;

  // For tpm2-tss and tpm2-tools, together with environment().
  static std::string tcti() { return "tabrmd:bus_type=session"; }
  // Where the bus is: DBUS_SESSION_BUS_ADDRESS.
  std::map<std::string, std::string> environment() const;
  // Sets environment() for this process, before its first connection through the tcti (GLib keeps
  // the address and the connection for as long as the process lives, so one manager a process) and
  // before it has a second thread (setenv(3)).
  void UseInThisProcess() const;

  pid_t pid() const { return manager_.pid(); }

  // Ends the manager, as a crash would: whoever is connected gets an I/O error. The bus stays.
  void Kill() { manager_.End(); }
  // Starts it again, for instance after the TPM was rebooted, which it does not survive.
  absl::Status Restart();

  // Stops it from answering, and lets it go on. A call that is under way hangs meanwhile.
  void Freeze() { manager_.Freeze(); }
  void Thaw() { manager_.Thaw(); }

 private:
  TpmResourceManager(std::string directory, std::string tpm_tcti)
      : directory_(std::move(directory)), tpm_tcti_(std::move(tpm_tcti)) {}

  std::string bus_socket() const { return directory_ + "/bus"; }
  absl::Status StartBus();

  const std::string directory_;
  const std::string tpm_tcti_;
  StartedProcess bus_;
  StartedProcess manager_;  // ends before its bus
};

}  // namespace smartkey
