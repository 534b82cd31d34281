// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_worker_core.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/error.h"

namespace smartkey {

KeyWorker::Core::Core(ProviderFactory factory, const Clock& clock, Scheduler& scheduler,
                      Options options, KeyObserver* observer)
    : factory_(std::move(factory)),
      clock_(clock),
      scheduler_(scheduler),
      options_(options),
      events_(observer),
      queue_(options.max_queued, options.max_queued_per_caller),
      health_(options.first_retry, options.longest_retry, clock.Boot()) {}

void KeyWorker::Core::Start() {
  events_.Note([](KeyObserver& observer) { observer.OnState(ProviderState::kAbsent); });
  MutexLock lock(mu_);
  StartThread();
}

Scheduler::TaskId KeyWorker::Core::CallAfter(absl::Duration delay,
                                             absl::AnyInvocable<void(Core&)> call) {
  return scheduler_.RunAfter(delay, [weak = weak_from_this(), call = std::move(call)]() mutable {
    if (const std::shared_ptr<Core> core = weak.lock()) call(*core);
  });
}

void KeyWorker::Core::CancelTimer(Scheduler::TaskId& timer) {
  if (timer != 0) scheduler_.Cancel(std::exchange(timer, 0));
}

// ---- Callers

KeyService::OperationId KeyWorker::Core::Submit(KeyOperation operation) {
  absl::Status refused;
  OperationId id = 0;
  {
    MutexLock lock(mu_);
    id = next_id_++;
    operation.id = id;
    operation.submitted = clock_.Boot();
    if (stopping_) {
      refused = MakeError(Reason::kShuttingDown, "the key service is ending");
    } else if (operation.deadline <= operation.submitted) {
      refused = MakeError(Reason::kDeadlineExceeded, "the deadline has passed already");
    } else if (health_.state() != ProviderState::kReady && !opening_ &&
               (operation.kind != KeyOperationKind::kProvision || thread_ended_)) {
      refused = health_.error();
    } else {
      refused = queue_.CheckRoom(operation.caller);
    }
    if (refused.ok()) {
      if (operation.deadline < BootTime::InfiniteFuture()) {
        operation.deadline_timer = CallAfter(operation.deadline - operation.submitted,
                                             [id](Core& core) { core.OnDeadline(id); });
      }
      queue_.Push(std::move(operation));
      NoteQueueDepth();
      changed_.NotifyAll();
    }
  }
  if (refused.ok()) {
    events_.Flush();
  } else {
    Settle(AnswerOf(operation), refused);
  }
  return id;
}

bool KeyWorker::Core::Cancel(OperationId id) {
  absl::optional<KeyOperation> operation;
  {
    MutexLock lock(mu_);
    operation = queue_.Remove(id);
    if (!operation.has_value()) return false;
    NoteQueueDepth();
    CancelTimer(operation->deadline_timer);
  }
  Settle(AnswerOf(*operation), MakeError(Reason::kCancelled, "the key operation was cancelled"));
  return true;
}

void KeyWorker::Core::Reopen() {
  MutexLock lock(mu_);
  if (stopping_ || health_.state() != ProviderState::kReady) return;
  opening_ = true;
  changed_.NotifyAll();
}

ProviderStatus KeyWorker::Core::status() const {
  MutexLock lock(mu_);
  ProviderStatus status;
  health_.Describe(status);
  status.queued = queue_.size();
  status.queue_limit = options_.max_queued;
  status.abandoned = given_up_;
  status.next_attempt = next_opening_;
  return status;
}

void KeyWorker::Core::OnDeadline(OperationId id) {
  absl::optional<KeyOperation> operation;
  {
    MutexLock lock(mu_);
    operation = queue_.Remove(id);
    if (!operation.has_value()) return;
    NoteQueueDepth();
    BeginDelivery();
  }
  Settle(AnswerOf(*operation), MakeError(Reason::kDeadlineExceeded,
                                         "the deadline passed while waiting for the hardware"));
  EndDelivery();
}

std::vector<KeyOperation> KeyWorker::Core::TakeQueue() {
  return Taken(queue_.TakeAll());
}

std::vector<KeyOperation> KeyWorker::Core::TakeWhatWantsItReady() {
  return Taken(queue_.TakeAllBut(KeyOperationKind::kProvision));
}

std::vector<KeyOperation> KeyWorker::Core::Taken(std::vector<KeyOperation> all) {
  for (KeyOperation& operation : all) CancelTimer(operation.deadline_timer);
  if (!all.empty()) NoteQueueDepth();
  BeginDelivery();
  return all;
}

KeyWorker::Core::Answer KeyWorker::Core::AnswerOf(KeyOperation& operation) {
  return {.kind = operation.kind,
          .submitted = operation.submitted,
          .begun = operation.begun,
          .finish = std::move(operation.finish)};
}

void KeyWorker::Core::Settle(Answer answer, const absl::Status& status) {
  const BootTime now = clock_.Boot();
  const BootTime begun = std::min(answer.begun, now);
  const FinishedKeyOperation finished = {.kind = answer.kind,
                                         .outcome = ReasonOf(status),
                                         .waited = begun - answer.submitted,
                                         .in_hardware = now - begun};
  events_.Note([finished](KeyObserver& observer) { observer.OnFinished(finished); });
  events_.Flush();
  answer.finish(status);
}

void KeyWorker::Core::Deliver(std::vector<KeyOperation> operations, const absl::Status& status) {
  for (KeyOperation& operation : operations) Settle(AnswerOf(operation), status);
  EndDelivery();
}

void KeyWorker::Core::NoteQueueDepth() {
  events_.Note([depth = queue_.size()](KeyObserver& observer) { observer.OnQueueDepth(depth); });
}

void KeyWorker::Core::EndDelivery() {
  MutexLock lock(mu_);
  --delivering_;
  changed_.NotifyAll();
}

// ---- The end

uint64_t KeyWorker::Core::AwaitEnd(absl::Time give_up) {
  MutexLock lock(mu_);
  while (!(thread_ended_ && delivering_ == 0) && absl::Now() < give_up) {
    changed_.WaitFor(mu_, give_up - absl::Now());
  }
  return running_.step;
}

void KeyWorker::Core::Shutdown() {
  const absl::Status ending = MakeError(Reason::kShuttingDown, "the key service is ending");
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    CancelTimer(opening_timer_);
    unserved = TakeQueue();
    changed_.NotifyAll();
  }
  Deliver(std::move(unserved), ending);

  // A call that is merely slow gets half of the time, one that hangs is made to return.
  const absl::Time begun = absl::Now();
  InterruptProvider(AwaitEnd(begun + options_.shutdown_limit / 2));
  AwaitEnd(begun + options_.shutdown_limit);

  std::thread thread;
  absl::optional<Answer> answer;
  {
    MutexLock lock(mu_);
    answer = std::exchange(running_.answer, absl::nullopt);
    CancelTimer(running_.watchdog);
    if (thread_ended_) {
      thread = std::move(thread_);
    } else {
      Abandon();
    }
  }
  if (answer.has_value()) Settle(*std::move(answer), ending);
  events_.Stop();
  if (thread.joinable()) thread.join();
}

}  // namespace smartkey
