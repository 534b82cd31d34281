// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "hsm/key_service.h"

namespace smartkey {

// Whether the key hardware can be used, since when, why not, and how long to wait before it is
// opened again. Writes a line into the log when that changes. Not thread-safe.
class ProviderHealth {
 public:
  // Pauses before openings: `first_retry` while the hardware is absent, doubled up to
  // `longest_retry`; that one whenever the hardware is there and does not work.
  ProviderHealth(absl::Duration first_retry, absl::Duration longest_retry, BootTime now);

  ProviderState state() const { return state_; }
  const absl::Status& error() const { return error_; }

  // An opening succeeded.
  void NoteReady(ProviderCapabilities capabilities, BootTime now);
  // An opening failed, or did not help, with `error`. Returns the pause before the next.
  absl::Duration NoteUnusable(const absl::Status& error, BootTime now);

  // Fills in state, last_error, capabilities and since.
  void Describe(ProviderStatus& status) const;

 private:
  void Set(ProviderState state, absl::Status error, BootTime now);

  const absl::Duration first_retry_;
  const absl::Duration longest_retry_;
  ProviderState state_ = ProviderState::kAbsent;
  absl::Status error_;
  bool known_ = false;  // not before the first opening has ended
  BootTime since_;
  int failures_ = 0;                                   // in a row
  absl::optional<ProviderCapabilities> capabilities_;  // of the last successful opening
};

}  // namespace smartkey
