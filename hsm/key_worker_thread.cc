// SPDX-License-Identifier: Apache-2.0
// What a KeyWorker::Core does about its hardware: the thread, the steps it takes, and what follows
// when one of them fails or hangs. What it does for its callers is in key_worker_core.cc.
#include <pthread.h>

#include <utility>

#include "base/error.h"
#include "hsm/key_worker_core.h"
#include "hsm/self_checking_key_provider.h"

namespace smartkey {
namespace {

// Whether opening the provider anew may help.
bool AsksForReopening(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kHardwareDegraded || reason == Reason::kHardwareAbsent ||
         reason == Reason::kSignatureWrong;
}

}  // namespace

// ---- The thread

void KeyWorker::Core::StartThread() {
  opening_ = true;
  next_opening_.reset();
  thread_ended_ = false;
  const uint64_t epoch = ++epoch_;
  thread_ = std::thread([core = shared_from_this(), epoch] { core->Work(epoch); });
}

void KeyWorker::Core::Work(uint64_t epoch) {
  pthread_setname_np(pthread_self(), "hardware");
  {
    SelfCheckingKeyProvider provider(factory_());
    {
      MutexLock lock(mu_);
      if (epoch == epoch_) provider_ = &provider;
    }
    while (AwaitWork(epoch)) {
      absl::optional<KeyOperation> operation;
      bool opening = false;
      {
        MutexLock lock(mu_);
        opening = opening_;
        if (epoch == epoch_ && !opening_) operation = queue_.Pop();
        if (operation.has_value()) {
          // The timer may be on its way; whoever has taken the operation from the queue answers it.
          CancelTimer(operation->deadline_timer);
          NoteQueueDepth();
          operation->begun = clock_.Boot();
          running_.answer = AnswerOf(*operation);
        }
      }
      events_.Flush();
      if (operation.has_value()) {
        Execute(epoch, provider, *std::move(operation));
      } else if (opening) {
        Open(epoch, provider);
      }
    }
    MutexLock lock(mu_);
    if (epoch == epoch_) provider_ = nullptr;
    while (interrupting_ > 0) changed_.Wait(mu_);
    // Closing the provider may hang as well: without the lock, and still before `thread_ended_`.
  }
  {
    MutexLock lock(mu_);
    if (epoch == epoch_) {
      thread_ended_ = true;
    } else {
      --abandoned_;
      NoteAbandonedThreads();
    }
    changed_.NotifyAll();
  }
  events_.Flush();
}

bool KeyWorker::Core::AwaitWork(uint64_t epoch) {
  MutexLock lock(mu_);
  // Hardware that is not ready has an empty queue, but for what may make it so.
  while (epoch == epoch_ && !stopping_ && !opening_ && queue_.size() == 0) {
    changed_.Wait(mu_);
  }
  return epoch == epoch_ && !stopping_;
}

bool KeyWorker::Core::RunStep(uint64_t epoch, bool opening, absl::Duration limit,
                              absl::FunctionRef<void()> step) {
  {
    MutexLock lock(mu_);
    if (epoch != epoch_ || stopping_) return false;
    running_.step = ++last_step_;
    running_.opening = opening;
    running_.begun = clock_.Boot();
    running_.watchdog =
        CallAfter(limit, [epoch, step = last_step_](Core& core) { core.OnLate(epoch, step); });
  }
  step();
  MutexLock lock(mu_);
  // An interruption meant for this call must not hit the next.
  while (interrupting_ > 0) changed_.Wait(mu_);
  if (epoch != epoch_) return false;
  running_.step = 0;
  CancelTimer(running_.watchdog);
  return !std::exchange(running_.late, false);
}

bool KeyWorker::Core::RunOpening(uint64_t epoch, KeyProvider& provider,
                                 absl::StatusOr<ProviderCapabilities>& opened) {
  const auto open = [&] { opened = provider.Open(); };
  if (!RunStep(epoch, /*opening=*/true, options_.open_limit, open)) return false;
  MutexLock lock(mu_);
  if (epoch != epoch_) return false;
  NoteOpening(opened.status());
  if (opened.ok()) SetReady(*opened);
  return true;
}

void KeyWorker::Core::Open(uint64_t epoch, KeyProvider& provider) {
  absl::StatusOr<ProviderCapabilities> opened = absl::UnknownError("not opened");
  if (!RunOpening(epoch, provider, opened)) return;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return;
    opening_ = false;
    if (!opened.ok()) ScheduleOpening(SetUnusable(opened.status()));
    if (!opened.ok()) unserved = TakeWhatWantsItReady();
  }
  events_.Flush();
  if (!opened.ok()) Deliver(std::move(unserved), opened.status());
}

void KeyWorker::Core::Execute(uint64_t epoch, KeyProvider& provider, KeyOperation operation) {
  absl::Status status;  // the operation's
  absl::Status usable;  // the provider's
  if (operation.deadline <= operation.begun) {
    status = MakeError(Reason::kDeadlineExceeded, "the deadline passed in the hardware's queue");
  } else if (!Attempt(epoch, provider, operation, status, usable)) {
    return;
  }
  absl::optional<Answer> answer;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return;  // given up by Shutdown(), which has answered
    answer = std::exchange(running_.answer, absl::nullopt);
    if (!usable.ok()) {
      opening_ = false;  // whoever asked for it, it has just been tried
      ScheduleOpening(SetUnusable(usable));
      unserved = TakeWhatWantsItReady();
    } else if (!AsksForReopening(status)) {
      health_.NoteServed();
    }
    // It is closed now, and may have another parent.
    if (operation.kind == KeyOperationKind::kProvision && usable.ok() &&
        ReasonOf(status) != Reason::kNotImplemented) {
      opening_ = true;
      CancelTimer(opening_timer_);
      next_opening_.reset();
    }
  }
  Settle(*std::move(answer), status);
  if (!usable.ok()) Deliver(std::move(unserved), usable);
}

bool KeyWorker::Core::Attempt(uint64_t epoch, KeyProvider& provider, KeyOperation& operation,
                              absl::Status& status, absl::Status& usable) {
  const absl::Duration limit =
      operation.kind == KeyOperationKind::kCreate ? options_.create_limit : options_.sign_limit;
  const auto attempt = [&] { status = operation.attempt(provider); };
  if (!RunStep(epoch, /*opening=*/false, limit, attempt)) return false;
  if (!AsksForReopening(status)) return true;

  absl::StatusOr<ProviderCapabilities> opened = absl::UnknownError("not opened");
  if (!RunOpening(epoch, provider, opened)) return false;
  usable = opened.status();
  if (!usable.ok() || !operation.repeatable) return true;
  if (!RunStep(epoch, /*opening=*/false, limit, attempt)) return false;
  // If it does not work on a fresh provider either, neither will the next call: stop for a while.
  if (AsksForReopening(status)) usable = status;
  return true;
}

// ---- Failures

void KeyWorker::Core::SetReady(ProviderCapabilities capabilities) {
  const ProviderState before = health_.state();
  health_.NoteReady(std::move(capabilities), clock_.Boot());
  NoteStateAfter(before);
}

absl::Duration KeyWorker::Core::SetUnusable(const absl::Status& error) {
  const ProviderState before = health_.state();
  const absl::Duration pause = health_.NoteUnusable(error, clock_.Boot());
  NoteStateAfter(before);
  return pause;
}

absl::Duration KeyWorker::Core::SetHung(const absl::Status& error) {
  const ProviderState before = health_.state();
  const absl::Duration pause = health_.NoteHung(error, clock_.Boot());
  NoteStateAfter(before);
  return pause;
}

void KeyWorker::Core::NoteOpening(const absl::Status& status) {
  const FinishedKeyOperation finished = {.kind = KeyOperationKind::kOpen,
                                         .outcome = ReasonOf(status),
                                         .in_hardware = clock_.Boot() - running_.begun};
  events_.Note([finished](KeyObserver& observer) { observer.OnFinished(finished); });
}

void KeyWorker::Core::NoteStateAfter(ProviderState before) {
  if (health_.state() == before) return;
  events_.Note([state = health_.state()](KeyObserver& observer) { observer.OnState(state); });
}

void KeyWorker::Core::OnLate(uint64_t epoch, uint64_t step) {
  const absl::Status late = MakeError(Reason::kHardwareTimeout, "the key hardware does not answer");
  const absl::Status waited =
      MakeError(Reason::kHardwareDegraded, "the key hardware does not answer");
  absl::optional<Answer> answer;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (stopping_ || epoch != epoch_ || step != running_.step) return;
    answer = std::exchange(running_.answer, absl::nullopt);
    unserved = TakeQueue();
    ++given_up_;
    running_.late = true;
    running_.watchdog = CallAfter(options_.interrupt_grace,
                                  [epoch, step](Core& core) { core.OnHung(epoch, step); });
    const absl::Duration pause = SetHung(waited);
    // Opened at once, by this thread or its successor, unless it was the opening that hangs.
    opening_ = !running_.opening;
    if (running_.opening) ScheduleOpening(pause);
    if (running_.opening) NoteOpening(late);
    BeginDelivery();
  }
  if (answer.has_value()) Settle(*std::move(answer), late);
  EndDelivery();
  Deliver(std::move(unserved), waited);
  InterruptProvider(step);
}

void KeyWorker::Core::OnHung(uint64_t epoch, uint64_t step) {
  std::vector<KeyOperation> unserved;
  absl::Status refused;
  {
    MutexLock lock(mu_);
    if (stopping_ || epoch != epoch_ || step != running_.step) return;
    Abandon();
    if (opening_ && abandoned_ < options_.max_abandoned) {
      StartThread();
    } else if (opening_) {
      opening_ = false;
      ScheduleOpening(options_.longest_retry);
      refused = health_.error();
      unserved = TakeQueue();
    }
  }
  events_.Flush();
  if (!refused.ok()) Deliver(std::move(unserved), refused);
}

void KeyWorker::Core::Abandon() {
  if (thread_.joinable()) thread_.detach();
  ++epoch_;
  ++abandoned_;
  thread_ended_ = true;
  provider_ = nullptr;
  running_ = Running();
  NoteAbandonedThreads();
}

void KeyWorker::Core::NoteAbandonedThreads() {
  events_.Note([count = abandoned_](KeyObserver& observer) { observer.OnAbandonedThreads(count); });
}

void KeyWorker::Core::InterruptProvider(uint64_t step) {
  KeyProvider* provider = nullptr;
  {
    MutexLock lock(mu_);
    // It may have come back by itself since, and the thread be in its next step.
    if (step == 0 || step != running_.step || provider_ == nullptr) return;
    provider = provider_;
    ++interrupting_;
  }
  provider->Interrupt();
  MutexLock lock(mu_);
  --interrupting_;
  changed_.NotifyAll();
}

void KeyWorker::Core::ScheduleOpening(absl::Duration delay) {
  if (stopping_) return;
  CancelTimer(opening_timer_);
  opening_timer_ = CallAfter(delay, [](Core& core) { core.OnOpeningDue(); });
  next_opening_ = clock_.Boot() + delay;
}

void KeyWorker::Core::OnOpeningDue() {
  MutexLock lock(mu_);
  opening_timer_ = 0;
  if (stopping_ || opening_) return;
  if (!thread_ended_) {
    opening_ = true;
    next_opening_.reset();
    changed_.NotifyAll();
  } else if (abandoned_ < options_.max_abandoned) {
    StartThread();
  } else {
    ScheduleOpening(options_.longest_retry);  // enough of them hang already
  }
}

}  // namespace smartkey
