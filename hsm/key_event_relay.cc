// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_event_relay.h"

#include <utility>

namespace smartkey {

absl::string_view KeyOperationKindName(KeyOperationKind kind) {
  switch (kind) {
    case KeyOperationKind::kSign:
      return "sign";
    case KeyOperationKind::kCreate:
      return "create";
    case KeyOperationKind::kDestroy:
      return "destroy";
    case KeyOperationKind::kList:
      return "list";
    case KeyOperationKind::kProvision:
      return "provision";
    case KeyOperationKind::kOpen:
      return "open";
  }
  return "";
}

void KeyEventRelay::Note(Event event) {
  MutexLock lock(mu_);
  if (observer_ != nullptr) events_.push_back(std::move(event));
}

void KeyEventRelay::Flush() {
  while (true) {
    std::vector<Event> events;
    KeyObserver* observer = nullptr;
    {
      MutexLock lock(mu_);
      if (telling_ || events_.empty()) return;
      telling_ = true;
      events.swap(events_);
      observer = observer_;
    }
    for (Event& event : events) event(*observer);
    MutexLock lock(mu_);
    telling_ = false;
    changed_.NotifyAll();
  }
}

void KeyEventRelay::Stop() {
  MutexLock lock(mu_);
  observer_ = nullptr;
  events_.clear();
  while (telling_) changed_.Wait(mu_);
}

}  // namespace smartkey
