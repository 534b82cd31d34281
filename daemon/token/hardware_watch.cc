// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/hardware_watch.h"

namespace smartkey {

void HardwareWatch::OnFinished(const FinishedKeyOperation& operation) {
  if (operation.kind != KeyOperationKind::kOpen) return;
  known_ = true;
  if (operation.outcome != Reason::kUnspecified) Look();  // the state after a success is told next
}

void HardwareWatch::OnState(ProviderState state) {
  state_ = state;
  Look();
}

void HardwareWatch::Look() {
  const bool absent = known_ && state_ == ProviderState::kAbsent;
  if (absent == told_absent_) return;
  told_absent_ = absent;
  changed_();
}

}  // namespace smartkey
