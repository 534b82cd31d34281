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
  // Pauses before openings: `first_retry`, doubled with each failure in a row up to
  // `longest_retry`; that one at once for hardware that hangs or signs wrong, which is not to be
  // driven.
  ProviderHealth(absl::Duration first_retry, absl::Duration longest_retry, BootTime now);

  ProviderState state() const { return state_; }
  const absl::Status& error() const { return error_; }

  // An opening succeeded.
  void NoteReady(ProviderCapabilities capabilities, BootTime now);
  // It answered a call as hardware in order does; an opening alone shows less. The next pause is
  // the first again.
  void NoteServed();
  // An opening failed, or did not help, with `error`. Returns the pause before the next.
  absl::Duration NoteUnusable(const absl::Status& error, BootTime now);
  // A call hangs. The same, and no shorter pause before a call has been served.
  absl::Duration NoteHung(const absl::Status& error, BootTime now);

  // Fills in state, known, last_error, capabilities and since.
  void Describe(ProviderStatus& status) const;

 private:
  void Set(ProviderState state, absl::Status error, BootTime now);

  const absl::Duration first_retry_;
  const absl::Duration longest_retry_;
  ProviderState state_ = ProviderState::kAbsent;
  absl::Status error_;
  bool known_ = false;  // not before the first opening has ended
  BootTime since_;
  absl::Duration pause_;                               // before the next opening, if it fails
  absl::optional<ProviderCapabilities> capabilities_;  // of the last successful opening
};

}  // namespace smartkey
