// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "hsm/key_observer.h"
#include "hsm/key_service.h"

namespace smartkey {

// The KeyService of the daemon: one thread that owns a KeyProvider and works off a bounded queue.
//
// Waiting: callers take turns, so that none waits for another's backlog; creations wait until
// nothing else does. A call whose deadline passes while it waits is answered then and there, also
// while the hardware is stuck.
//
// Hardware that is absent or fails is opened again, at growing intervals: it may come late, or
// back. While an opening is under way calls wait for its end; between two they are refused at once.
// After an answer that says "degraded" or "absent" the provider is opened once and the call
// repeated, unless it makes a key; if that does not help either, the state is DEGRADED or ABSENT
// until a later opening succeeds. The first signature of each key after each opening is verified; a
// wrong one is given to nobody and counts as "degraded", with kSignatureWrong for an answer.
//
// A call that hangs past its limit is answered with kHardwareTimeout and all that wait with
// kHardwareDegraded, and the provider is interrupted (KeyProvider::Interrupt). If that makes the
// call return within `interrupt_grace`, the same thread opens the same provider anew. Otherwise the
// thread is given up together with its provider, never joined, and a new provider is opened on a
// new thread. Both at once after a hanging operation, and a minute later after a hanging opening.
// At most `max_abandoned` threads hang at a time.
//
// Thread-safe. `clock`, `scheduler` and `observer` (null: nobody) must outlive it. The destructor
// answers what waits with kShuttingDown, and takes no longer than `shutdown_limit`, hung hardware
// or not: after half of that it interrupts what still runs. Afterwards no `done` runs any more. It
// must not be called from a `done`.
class KeyWorker : public KeyService {
 public:
  // Makes a provider that is not open yet. Called on the worker's thread, once for each new thread.
  using ProviderFactory = std::function<std::unique_ptr<KeyProvider>()>;

  struct Options {
    int max_queued = 64;
    int max_queued_per_caller = 16;
    absl::Duration sign_limit = absl::Seconds(15);  // and whatever is not a creation
    absl::Duration create_limit = absl::Seconds(180);
    absl::Duration open_limit = absl::Seconds(60);
    absl::Duration interrupt_grace = absl::Seconds(2);
    absl::Duration first_retry = absl::Seconds(1);  // doubled while the hardware fails
    absl::Duration longest_retry = absl::Seconds(60);
    int max_abandoned = 4;
    absl::Duration shutdown_limit = absl::Seconds(5);
  };

  KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler, Options options,
            KeyObserver* observer = nullptr);
  KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler);
  ~KeyWorker() override;

  OperationId Sign(SignRequest request,
                   absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override;
  OperationId CreateKey(CreateRequest request,
                        absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) override;
  OperationId DestroyKey(KeyReference key, absl::AnyInvocable<void(absl::Status)> done) override;
  OperationId ListKeys(absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) override;
  OperationId CheckKey(KeyReference key, PublicKey expected,
                       absl::AnyInvocable<void(absl::Status)> done) override;
  OperationId Inspect(absl::AnyInvocable<void(absl::StatusOr<HardwareCondition>)> done) override;
  OperationId ProvisionParent(
      Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) override;
  bool Cancel(OperationId id) override;
  void Reopen() override;
  ProviderStatus status() const override;

 private:
  // Shared with the thread, which may outlive this.
  class Core;

  const std::shared_ptr<Core> core_;
};

}  // namespace smartkey
