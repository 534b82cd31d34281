// SPDX-License-Identifier: Apache-2.0
#include "hsm/provider_health.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace smartkey {

ProviderHealth::ProviderHealth(absl::Duration first_retry, absl::Duration longest_retry,
                               BootTime now)
    : first_retry_(first_retry),
      longest_retry_(longest_retry),
      error_(MakeError(Reason::kHardwareBusy, "the key hardware is being opened")),
      since_(now),
      pause_(first_retry) {}

void ProviderHealth::NoteReady(ProviderCapabilities capabilities, BootTime now) {
  capabilities_ = std::move(capabilities);
  Set(ProviderState::kReady, absl::OkStatus(), now);
}

void ProviderHealth::NoteServed() {
  pause_ = first_retry_;
}

absl::Duration ProviderHealth::NoteUnusable(const absl::Status& error, BootTime now) {
  if (ReasonOf(error) == Reason::kSignatureWrong) pause_ = longest_retry_;
  const absl::Duration pause = pause_;
  pause_ = std::min(2 * pause_, longest_retry_);
  const bool absent = ReasonOf(error) == Reason::kHardwareAbsent;
  Set(absent ? ProviderState::kAbsent : ProviderState::kDegraded, error, now);
  return pause;
}

absl::Duration ProviderHealth::NoteHung(const absl::Status& error, BootTime now) {
  pause_ = longest_retry_;
  return NoteUnusable(error, now);
}

void ProviderHealth::Describe(ProviderStatus& status) const {
  status.state = state_;
  status.known = known_;
  if (state_ != ProviderState::kReady) status.last_error = error_;
  status.capabilities = capabilities_;
  status.since = since_;
}

void ProviderHealth::Set(ProviderState state, absl::Status error, BootTime now) {
  const bool changed = !known_ || state != state_;
  const bool worth_a_line = changed || ReasonOf(error) != ReasonOf(error_);
  if (changed) since_ = now;
  known_ = true;
  state_ = state;
  error_ = std::move(error);
  if (!worth_a_line) return;
  if (state == ProviderState::kReady) {
    Log(LogLevel::kInfo, "key hardware is ready", {{"hardware", capabilities_->hardware}});
  } else {
    Log(LogLevel::kWarning, "key hardware is not usable",
        {{"state", ProviderStateName(state)}, {"error", error_.message()}});
  }
}

}  // namespace smartkey
