// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "hsm/key_service.h"

namespace smartkey {

enum class KeyOperationKind { kSign, kCreate, kDestroy, kList, kProvision, kOpen };
// "sign", "create", "destroy", "list", "provision", "open".
absl::string_view KeyOperationKindName(KeyOperationKind kind);

struct FinishedKeyOperation {
  KeyOperationKind kind = KeyOperationKind::kSign;
  Reason outcome = Reason::kUnspecified;  // kUnspecified: success
  absl::Duration waited;                  // in the queue; zero for kOpen and for what was refused
  absl::Duration in_hardware;  // reopening within the operation included; zero if it never began
};

// Is told what happens at the key hardware, for metrics. Called on whatever thread it happens, one
// call at a time and in the order in which things happened, without any lock of the caller. Must
// not block, and must not call back.
class KeyObserver {
 public:
  virtual ~KeyObserver() = default;

  // How many operations wait now.
  virtual void OnQueueDepth(int depth) = 0;
  // Also for what was refused, cancelled or hung.
  virtual void OnFinished(const FinishedKeyOperation& operation) = 0;
  virtual void OnState(ProviderState state) = 0;
  // How many threads hang in the hardware now, given up.
  virtual void OnAbandonedThreads(int count) = 0;
};

}  // namespace smartkey
