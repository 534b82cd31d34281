// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

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
  // Opens the record, clears up after the last run, and serves. Errors: kAlreadyRunning,
  // kConfigInvalid. `clock` must outlive the result.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const Config& config, const Clock& clock);

  // Stops accepting, lets running calls end or cancels them, and waits until the record is on disk;
  // ten seconds in all. False if something did not end: then, as after true, the process is to end
  // with _exit, without destroying this object (a worker may hang in the hardware for ever).
  bool Shutdown();

 private:
  struct Parts;
  explicit Daemon(Parts& parts);

  Parts& parts_;
};

}  // namespace smartkey
