// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "hsm/key_provider.h"

namespace smartkey {

enum class ProviderState { kReady, kDegraded, kAbsent };
absl::string_view ProviderStateName(ProviderState state);  // "READY", ...

struct ProviderStatus {
  ProviderState state = ProviderState::kAbsent;
  bool known = true;  // false: the first opening has not ended yet, and the state says nothing
  absl::Status last_error;                            // OK while ready
  absl::optional<ProviderCapabilities> capabilities;  // of the last successful open
  int queued = 0;
  int queue_limit = 0;                    // what `queued` can grow to
  int abandoned = 0;                      // operations that hung and were given up, since the start
  BootTime since;                         // when `state` began
  absl::optional<BootTime> next_attempt;  // the next opening; absent: ready, or being opened now
};

// Everything the daemon asks of a key provider goes through here: one thread (hardware is serial)
// behind a bounded queue that is fair between callers. Asynchronous: each call returns at once, and
// `done` runs exactly once, on the worker's thread, on a timer's when a deadline passes or hardware
// hangs, or, for a refused call, on the caller's, before the call returns. It must not block.
//
// An interface, so that managers are tested with a fake. Thread-safe.
//
// Errors beside the provider's own: kHardwareBusy (the queue, or this caller's part of it, is
// full), kDeadlineExceeded (still queued at `deadline`; the hardware was not bothered), kCancelled,
// kHardwareTimeout (the operation hangs), kShuttingDown.
class KeyService {
 public:
  using OperationId = uint64_t;  // never 0

  // Whose turn it is: one queue for each value. The daemon has one for each user; its own upkeep
  // is kInternal.
  using CallerKey = uint64_t;
  static constexpr CallerKey kInternal = ~uint64_t{0};

  struct SignRequest {
    CallerKey caller = kInternal;
    KeyReference key;
    PublicKey public_key;
    SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
    std::string message;
    BootTime deadline = BootTime::InfiniteFuture();
  };
  struct CreateRequest {
    CallerKey caller = kInternal;
    SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
    std::string label;
    BootTime deadline = BootTime::InfiniteFuture();
  };

  virtual ~KeyService() = default;

  virtual OperationId Sign(SignRequest request,
                           absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) = 0;

  // Waits until no signature is queued, or 64 have gone before; one creation runs at a time.
  virtual OperationId CreateKey(CreateRequest request,
                                absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) = 0;

  virtual OperationId DestroyKey(KeyReference key, absl::AnyInvocable<void(absl::Status)> done) = 0;

  // The keys that the hardware stores.
  virtual OperationId ListKeys(absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) = 0;

  // Can this key be used now, and is it the one expected? Errors: as KeyProvider::CheckKey.
  virtual OperationId CheckKey(KeyReference key, PublicKey expected,
                               absl::AnyInvocable<void(absl::Status)> done) = 0;

  // What the hardware says of itself now.
  virtual OperationId Inspect(absl::AnyInvocable<void(absl::StatusOr<HardwareCondition>)> done) = 0;

  // As ParentProvisioner; kNotImplemented where the provider has none. Also taken while the
  // hardware is not ready, since that may be what it lacks; afterwards it is opened anew.
  virtual OperationId ProvisionParent(
      Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) = 0;

  // If the operation has not started it never will, and its `done` gets kCancelled, inside this
  // call.
  virtual bool Cancel(OperationId id) = 0;

  // For whoever finds a signature wrong: has the hardware opened anew before the next operation, so
  // that keys are loaded and checked again. Returns at once; does nothing unless it is ready.
  virtual void Reopen() = 0;

  virtual ProviderStatus status() const = 0;
};

}  // namespace smartkey
