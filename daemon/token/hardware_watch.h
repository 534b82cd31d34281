// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <utility>

#include "hsm/key_observer.h"

namespace smartkey {

// Tells when the key hardware goes or comes: registrations stand otherwise then (Standings), though
// nothing is written to their records.
class HardwareWatch : public KeyObserver {
 public:
  // `changed` is called as the methods of a KeyObserver are, and must keep to their rules.
  explicit HardwareWatch(std::function<void()> changed) : changed_(std::move(changed)) {}

  void OnQueueDepth(int) override {}
  void OnFinished(const FinishedKeyOperation& operation) override;
  void OnState(ProviderState state) override;
  void OnAbandonedThreads(int) override {}

 private:
  void Look();

  const std::function<void()> changed_;
  // Calls come one at a time.
  bool known_ = false;  // the first opening has ended; nobody is told of an absence before
  ProviderState state_ = ProviderState::kAbsent;
  bool told_absent_ = false;
};

}  // namespace smartkey
