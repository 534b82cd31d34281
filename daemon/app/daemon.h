// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "daemon/app/config.h"

namespace smartkey {

// The daemon put together: the one place that names technologies (TPM, curl, SQLite, gRPC).
//
// Starts degraded when the key hardware is absent: cached tokens and everything that needs no key
// work, and the hardware is looked for again. Starts without its record when that cannot be read:
// it says so to everybody who asks for registrations, and goes on as soon as it can be.
class Daemon {
 public:
  // Opens the record, clears up after the last run, and serves. `config` was read from
  // `config_file`. When an administrator asks for a reload, `wake` is called, which must not block
  // and is to have the owner call Reload() soon. Errors: kAlreadyRunning, kConfigInvalid. `clock`
  // must outlive the result.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const std::string& config_file,
                                                       const Config& config, const Clock& clock,
                                                       std::function<void()> wake);

  // Reads the configuration file again (ConfigReloads).
  void Reload();

  // Stops accepting, lets running calls end or cancels them, and waits until the record is on disk;
  // ten seconds in all. False if something did not end: then, as after true, the process is to end
  // with _exit, without destroying this object (a worker may hang in the hardware for ever).
  bool Shutdown();

 private:
  struct Parts;
  explicit Daemon(Parts& parts);
  static void NoteHardware(Parts& parts);
  static std::string MetricsText(Parts& parts);
  static void LookAtHealth(Parts& parts);
  static void LookAtHardware(Parts& parts);
  static void TakeUpCatalog(Parts& parts, const Catalog& before, const Catalog& after);

  Parts& parts_;
};

}  // namespace smartkey
