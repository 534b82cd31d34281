// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_worker_core.h"

#include <utility>

#include "absl/time/clock.h"
#include "base/error.h"
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

KeyWorker::Core::Core(ProviderFactory factory, const Clock& clock, Scheduler& scheduler,
                      Options options)
    : factory_(std::move(factory)),
      clock_(clock),
      scheduler_(scheduler),
      options_(options),
      queue_(options.max_queued, options.max_queued_per_caller),
      health_(options.first_retry, options.longest_retry, clock.Boot()) {}

void KeyWorker::Core::Start() {
  MutexLock lock(mu_);
  StartThread();
}

template <typename... Args>
Scheduler::TaskId KeyWorker::Core::CallAfter(absl::Duration delay, void (Core::*method)(Args...),
                                             Args... args) {
  return scheduler_.RunAfter(delay, [weak = weak_from_this(), method, args...] {
    if (const std::shared_ptr<Core> core = weak.lock()) (core.get()->*method)(args...);
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
    if (stopping_) {
      refused = MakeError(Reason::kShuttingDown, "the key service is ending");
    } else if (operation.deadline <= clock_.Boot()) {
      refused = MakeError(Reason::kDeadlineExceeded, "the deadline has passed already");
    } else if (health_.state() != ProviderState::kReady && !opening_) {
      refused = health_.error();
    } else {
      refused = queue_.CheckRoom(operation.caller);
    }
    if (refused.ok()) {
      if (operation.deadline < BootTime::InfiniteFuture()) {
        operation.deadline_timer =
            CallAfter(operation.deadline - clock_.Boot(), &Core::OnDeadline, id);
      }
      queue_.Push(std::move(operation));
      changed_.NotifyAll();
      return id;
    }
  }
  operation.finish(std::move(refused));
  return id;
}

bool KeyWorker::Core::Cancel(OperationId id) {
  absl::optional<KeyOperation> operation;
  {
    MutexLock lock(mu_);
    operation = queue_.Remove(id);
    if (!operation.has_value()) return false;
    CancelTimer(operation->deadline_timer);
  }
  operation->finish(MakeError(Reason::kCancelled, "the key operation was cancelled"));
  return true;
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
    BeginDelivery();
  }
  operation->finish(
      MakeError(Reason::kDeadlineExceeded, "the deadline passed while waiting for the hardware"));
  EndDelivery();
}

std::vector<KeyOperation> KeyWorker::Core::TakeQueue() {
  std::vector<KeyOperation> all = queue_.TakeAll();
  for (KeyOperation& operation : all) CancelTimer(operation.deadline_timer);
  BeginDelivery();
  return all;
}

void KeyWorker::Core::Deliver(std::vector<KeyOperation> operations, const absl::Status& status) {
  for (KeyOperation& operation : operations) operation.finish(status);
  EndDelivery();
}

void KeyWorker::Core::EndDelivery() {
  MutexLock lock(mu_);
  --delivering_;
  changed_.NotifyAll();
}

// ---- The thread

void KeyWorker::Core::StartThread() {
  opening_ = true;
  next_opening_.reset();
  thread_ended_ = false;
  const uint64_t epoch = ++epoch_;
  thread_ = std::thread([core = shared_from_this(), epoch] { core->Work(epoch); });
}

void KeyWorker::Core::Work(uint64_t epoch) {
  {
    SelfCheckingKeyProvider provider(factory_());
    {
      MutexLock lock(mu_);
      if (epoch == epoch_) provider_ = &provider;
    }
    while (AwaitWork(epoch)) {
      absl::optional<KeyOperation> operation;
      {
        MutexLock lock(mu_);
        if (epoch == epoch_ && !opening_) operation = queue_.Pop();
        if (operation.has_value()) {
          // The timer may be on its way; whoever has taken the operation from the queue answers it.
          CancelTimer(operation->deadline_timer);
          running_.finish = std::move(operation->finish);
        }
      }
      if (operation.has_value()) {
        Execute(epoch, provider, *std::move(operation));
      } else {
        Open(epoch, provider);
      }
    }
    MutexLock lock(mu_);
    if (epoch == epoch_) provider_ = nullptr;
    while (interrupting_ > 0) changed_.Wait(mu_);
    // Closing the provider may hang as well: without the lock, and still before `thread_ended_`.
  }
  MutexLock lock(mu_);
  if (epoch == epoch_) {
    thread_ended_ = true;
  } else {
    --abandoned_;
  }
  changed_.NotifyAll();
}

bool KeyWorker::Core::AwaitWork(uint64_t epoch) {
  MutexLock lock(mu_);
  while (epoch == epoch_ && !stopping_ && !opening_ &&
         !(health_.state() == ProviderState::kReady && queue_.size() > 0)) {
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
    running_.watchdog = CallAfter(limit, &Core::OnLate, epoch, last_step_);
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

void KeyWorker::Core::Open(uint64_t epoch, KeyProvider& provider) {
  absl::StatusOr<ProviderCapabilities> opened = absl::UnknownError("not opened");
  const auto open = [&] { opened = provider.Open(); };
  if (!RunStep(epoch, /*opening=*/true, options_.open_limit, open)) return;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return;
    opening_ = false;
    if (opened.ok()) {
      health_.NoteReady(*std::move(opened), clock_.Boot());
      return;
    }
    ScheduleOpening(health_.NoteUnusable(opened.status(), clock_.Boot()));
    unserved = TakeQueue();
  }
  Deliver(std::move(unserved), opened.status());
}

void KeyWorker::Core::Execute(uint64_t epoch, KeyProvider& provider, KeyOperation operation) {
  absl::Status status;  // the operation's
  absl::Status usable;  // the provider's
  if (operation.deadline <= clock_.Boot()) {
    status = MakeError(Reason::kDeadlineExceeded, "the deadline passed in the hardware's queue");
  } else if (!Attempt(epoch, provider, operation, status, usable)) {
    return;
  }
  absl::AnyInvocable<void(absl::Status)> finish;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return;  // given up by Shutdown(), which has answered
    finish = std::move(running_.finish);
    if (!usable.ok()) {
      ScheduleOpening(health_.NoteUnusable(usable, clock_.Boot()));
      unserved = TakeQueue();
    }
  }
  finish(std::move(status));
  if (!usable.ok()) Deliver(std::move(unserved), usable);
}

bool KeyWorker::Core::Attempt(uint64_t epoch, KeyProvider& provider, KeyOperation& operation,
                              absl::Status& status, absl::Status& usable) {
  const absl::Duration limit = operation.creation ? options_.create_limit : options_.sign_limit;
  const auto attempt = [&] { status = operation.attempt(provider); };
  if (!RunStep(epoch, /*opening=*/false, limit, attempt)) return false;
  if (!AsksForReopening(status)) return true;

  absl::StatusOr<ProviderCapabilities> opened = absl::UnknownError("not opened");
  const auto open = [&] { opened = provider.Open(); };
  if (!RunStep(epoch, /*opening=*/true, options_.open_limit, open)) return false;
  usable = opened.status();
  if (!usable.ok() || !operation.repeatable) return true;
  if (!RunStep(epoch, /*opening=*/false, limit, attempt)) return false;
  // If it does not work on a fresh provider either, neither will the next call: stop for a while.
  if (AsksForReopening(status)) usable = status;
  return true;
}

// ---- Failures

void KeyWorker::Core::OnLate(uint64_t epoch, uint64_t step) {
  const absl::Status late = MakeError(Reason::kHardwareTimeout, "the key hardware does not answer");
  const absl::Status waited =
      MakeError(Reason::kHardwareDegraded, "the key hardware does not answer");
  absl::AnyInvocable<void(absl::Status)> finish;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (stopping_ || epoch != epoch_ || step != running_.step) return;
    finish = std::move(running_.finish);
    unserved = TakeQueue();
    ++given_up_;
    running_.late = true;
    running_.watchdog = CallAfter(options_.interrupt_grace, &Core::OnHung, epoch, step);
    const absl::Duration pause = health_.NoteUnusable(waited, clock_.Boot());
    // Opened at once, by this thread or its successor, unless it was the opening that hangs.
    opening_ = !running_.opening;
    if (running_.opening) ScheduleOpening(pause);
    BeginDelivery();
  }
  if (finish != nullptr) finish(late);
  EndDelivery();
  Deliver(std::move(unserved), waited);
  InterruptProvider(step);
}

void KeyWorker::Core::OnHung(uint64_t epoch, uint64_t step) {
  std::vector<KeyOperation> unserved;
  absl::Status error;
  {
    MutexLock lock(mu_);
    if (stopping_ || epoch != epoch_ || step != running_.step) return;
    Abandon();
    if (!opening_) return;  // a timer will say when
    if (abandoned_ < options_.max_abandoned) {
      StartThread();
      return;
    }
    opening_ = false;
    ScheduleOpening(options_.longest_retry);
    error = health_.error();
    unserved = TakeQueue();
  }
  Deliver(std::move(unserved), error);
}

void KeyWorker::Core::Abandon() {
  if (thread_.joinable()) thread_.detach();
  ++epoch_;
  ++abandoned_;
  thread_ended_ = true;
  provider_ = nullptr;
  running_ = Running();
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
  opening_timer_ = CallAfter(delay, &Core::OnOpeningDue);
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
  absl::AnyInvocable<void(absl::Status)> finish;
  {
    MutexLock lock(mu_);
    finish = std::move(running_.finish);
    CancelTimer(running_.watchdog);
    if (thread_ended_) {
      thread = std::move(thread_);
    } else {
      Abandon();
    }
  }
  if (finish != nullptr) finish(ending);
  if (thread.joinable()) thread.join();
}

}  // namespace smartkey
