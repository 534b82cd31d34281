// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "hsm/key_event_relay.h"
#include "hsm/key_queue.h"
#include "hsm/key_worker.h"
#include "hsm/provider_health.h"

namespace smartkey {

// What a KeyWorker consists of, shared with its thread, which may outlive it: the queue, the thread
// that owns the provider, and the watchdog over each step it takes there.
//
// A thread knows by its epoch whether it is still the one: a thread that was given up finds another
// epoch when its call returns at last, and ends without touching anything but this object, which it
// keeps alive. So the scheduler and the clock are used only by the thread of the current epoch.
//
// A step past its limit goes through two stages. First it is late: everybody is answered, and the
// provider is interrupted. If that brings the thread back within `interrupt_grace` it goes on, with
// the same provider, by opening it anew. Otherwise the thread is abandoned.
//
// A provider that is being interrupted is neither used nor destroyed by its thread meanwhile.
class KeyWorker::Core : public std::enable_shared_from_this<KeyWorker::Core> {
 public:
  Core(ProviderFactory factory, const Clock& clock, Scheduler& scheduler, Options options,
       KeyObserver* observer);

  void Start();
  OperationId Submit(KeyOperation operation);
  bool Cancel(OperationId id);
  void Reopen();
  ProviderStatus status() const;
  void Shutdown();

 private:
  // What is left of an operation that is not in the queue any more.
  struct Answer {
    KeyOperationKind kind = KeyOperationKind::kSign;
    BootTime submitted;
    BootTime begun;
    absl::AnyInvocable<void(absl::Status)> finish;
  };
  // What the thread does now.
  struct Running {
    uint64_t step = 0;  // 0: nothing
    bool opening = false;
    bool late = false;
    BootTime begun;
    Scheduler::TaskId watchdog = 0;
    absl::optional<Answer> answer;  // of the operation it serves, if any
  };

  void StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Work(uint64_t epoch);
  // False: this thread was given up, or is to end.
  bool AwaitWork(uint64_t epoch);
  // Opens under the watchdog. False: as RunStep.
  bool RunOpening(uint64_t epoch, KeyProvider& provider,
                  absl::StatusOr<ProviderCapabilities>& opened);
  void Open(uint64_t epoch, KeyProvider& provider);
  void Execute(uint64_t epoch, KeyProvider& provider, KeyOperation operation);
  // Tries the operation, at most twice. `usable`: what kept the provider from working, if anything.
  // False: as RunStep.
  bool Attempt(uint64_t epoch, KeyProvider& provider, KeyOperation& operation, absl::Status& status,
               absl::Status& usable);
  // Runs `step` under the watchdog. False: it was not run, or was late; whatever it came to is
  // nobody's any more.
  bool RunStep(uint64_t epoch, bool opening, absl::Duration limit, absl::FunctionRef<void()> step);

  void OnLate(uint64_t epoch, uint64_t step);
  void OnHung(uint64_t epoch, uint64_t step);
  void Abandon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Interrupt() of the current provider, if that step is still under way. Without the lock.
  void InterruptProvider(uint64_t step);

  void OnDeadline(OperationId id);
  void ScheduleOpening(absl::Duration delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnOpeningDue();
  std::vector<KeyOperation> TakeQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // All but what may make the hardware ready, which waits on.
  std::vector<KeyOperation> TakeWhatWantsItReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<KeyOperation> Taken(std::vector<KeyOperation> all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteOpening(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteStateAfter(ProviderState before) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteAbandonedThreads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteQueueDepth() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetReady(ProviderCapabilities capabilities) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // As ProviderHealth::NoteUnusable.
  absl::Duration SetUnusable(const absl::Status& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration SetHung(const absl::Status& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelTimer(Scheduler::TaskId& timer);
  // Later, if this is still there then.
  Scheduler::TaskId CallAfter(absl::Duration delay, absl::AnyInvocable<void(Core&)> call);

  static Answer AnswerOf(KeyOperation& operation);
  // Answers, without the lock.
  void Settle(Answer answer, const absl::Status& status);
  // The same for many, and lets Shutdown() wait for it.
  void Deliver(std::vector<KeyOperation> operations, const absl::Status& status);
  void BeginDelivery() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { ++delivering_; }
  void EndDelivery();
  // Until the thread has ended and everybody is answered, or `give_up`. Returns the step that is
  // still under way then, or 0.
  uint64_t AwaitEnd(absl::Time give_up);

  const ProviderFactory factory_;
  const Clock& clock_;
  Scheduler& scheduler_;
  const Options options_;
  KeyEventRelay events_;

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  OperationId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  KeyQueue queue_ ABSL_GUARDED_BY(mu_);
  int delivering_ ABSL_GUARDED_BY(mu_) = 0;

  // The current thread.
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread thread_ ABSL_GUARDED_BY(mu_);
  bool thread_ended_ ABSL_GUARDED_BY(mu_) = true;
  KeyProvider* provider_ ABSL_GUARDED_BY(mu_) = nullptr;  // null before it is made, and at its end
  uint64_t last_step_ ABSL_GUARDED_BY(mu_) = 0;
  Running running_ ABSL_GUARDED_BY(mu_);

  int interrupting_ ABSL_GUARDED_BY(mu_) = 0;  // calls of Interrupt under way
  int abandoned_ ABSL_GUARDED_BY(mu_) = 0;     // threads that hang now
  int given_up_ ABSL_GUARDED_BY(mu_) = 0;      // operations that were late, ever

  ProviderHealth health_ ABSL_GUARDED_BY(mu_);
  bool opening_ ABSL_GUARDED_BY(mu_) = false;  // wanted or under way: calls wait for its end
  Scheduler::TaskId opening_timer_ ABSL_GUARDED_BY(mu_) = 0;
  absl::optional<BootTime> next_opening_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
