// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_worker.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "hsm/key_queue.h"

namespace smartkey {
namespace {

// Whether opening the provider anew may help.
bool AsksForReopening(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kHardwareDegraded || reason == Reason::kHardwareAbsent;
}

ProviderState StateAfter(const absl::Status& error) {
  return ReasonOf(error) == Reason::kHardwareAbsent ? ProviderState::kAbsent
                                                    : ProviderState::kDegraded;
}

}  // namespace

// A thread knows by its epoch whether it is still the one: a thread that was given up finds another
// epoch when its call returns at last, and ends without touching anything but this object, which it
// keeps alive. So the scheduler and the clock are used only by the thread of the current epoch.
class KeyWorker::Core : public std::enable_shared_from_this<KeyWorker::Core> {
 public:
  Core(ProviderFactory factory, const Clock& clock, Scheduler& scheduler, Options options)
      : factory_(std::move(factory)),
        clock_(clock),
        scheduler_(scheduler),
        options_(options),
        queue_(options.max_queued, options.max_queued_per_caller) {}

  void Start() {
    MutexLock lock(mu_);
    StartThread();
  }

  OperationId Submit(KeyOperation operation);
  bool Cancel(OperationId id);
  ProviderStatus status() const;
  void Shutdown();

 private:
  // What the thread does now.
  struct Running {
    uint64_t step = 0;  // 0: nothing
    bool opening = false;
    Scheduler::TaskId watchdog = 0;
    absl::AnyInvocable<void(absl::Status)> finish;  // of the operation it serves, if any
  };

  void StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Work(uint64_t epoch);
  // What the thread does. False: this thread was given up, or is to end.
  bool AwaitWork(uint64_t epoch);
  bool Open(uint64_t epoch, KeyProvider& provider);
  bool Execute(uint64_t epoch, KeyProvider& provider, KeyOperation operation);
  // Tries the operation, at most twice. `usable`: what kept the provider from working, if anything.
  bool Attempt(uint64_t epoch, KeyProvider& provider, KeyOperation& operation, absl::Status& status,
               absl::Status& usable);
  // Runs `step` under the watchdog.
  bool RunStep(uint64_t epoch, bool opening, absl::Duration limit, absl::FunctionRef<void()> step);

  void OnHung(uint64_t epoch, uint64_t step);
  void OnDeadline(OperationId id);
  void ScheduleOpening(absl::Duration delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnOpeningDue();
  void SetState(ProviderState state, absl::Status error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteFailedOpening(const absl::Status& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<KeyOperation> TakeQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelTimer(Scheduler::TaskId& timer) {
    if (timer != 0) scheduler_.Cancel(std::exchange(timer, 0));
  }

  // Answers without the lock, and lets Shutdown() wait for it.
  void Deliver(std::vector<KeyOperation> operations, const absl::Status& status);
  void BeginDelivery() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { ++delivering_; }
  void EndDelivery();

  const ProviderFactory factory_;
  const Clock& clock_;
  Scheduler& scheduler_;
  const Options options_;

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t last_step_ ABSL_GUARDED_BY(mu_) = 0;
  OperationId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::thread thread_ ABSL_GUARDED_BY(mu_);
  bool thread_ended_ ABSL_GUARDED_BY(mu_) = true;  // that of the current epoch
  int abandoned_ ABSL_GUARDED_BY(mu_) = 0;
  int delivering_ ABSL_GUARDED_BY(mu_) = 0;

  Running running_ ABSL_GUARDED_BY(mu_);
  KeyQueue queue_ ABSL_GUARDED_BY(mu_);
  ProviderState state_ ABSL_GUARDED_BY(mu_) = ProviderState::kAbsent;
  absl::Status last_error_ ABSL_GUARDED_BY(mu_) = MakeError(Reason::kHardwareAbsent,
                                                            "the key hardware was not opened yet");
  bool state_known_ ABSL_GUARDED_BY(mu_) = false;  // not before the first opening has ended
  absl::optional<ProviderCapabilities> capabilities_ ABSL_GUARDED_BY(mu_);
  bool opening_ ABSL_GUARDED_BY(mu_) = false;  // wanted or under way: calls wait for its end
  int failed_openings_ ABSL_GUARDED_BY(mu_) = 0;
  Scheduler::TaskId opening_timer_ ABSL_GUARDED_BY(mu_) = 0;
};

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
    } else if (state_ != ProviderState::kReady && !opening_) {
      refused = last_error_;
    } else {
      refused = queue_.CheckRoom(operation.caller);
    }
    if (refused.ok()) {
      if (operation.deadline < BootTime::InfiniteFuture()) {
        operation.deadline_timer =
            scheduler_.RunAfter(operation.deadline - clock_.Boot(), [weak = weak_from_this(), id] {
              if (const std::shared_ptr<Core> core = weak.lock()) core->OnDeadline(id);
            });
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
  status.state = state_;
  if (state_ != ProviderState::kReady) status.last_error = last_error_;
  status.capabilities = capabilities_;
  status.queued = queue_.size();
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

// ---- The thread

void KeyWorker::Core::StartThread() {
  opening_ = true;
  thread_ended_ = false;
  const uint64_t epoch = ++epoch_;
  thread_ = std::thread([core = shared_from_this(), epoch] { core->Work(epoch); });
}

void KeyWorker::Core::Work(uint64_t epoch) {
  {
    const std::unique_ptr<KeyProvider> provider = factory_();
    bool go_on = true;
    while (go_on && AwaitWork(epoch)) {
      absl::optional<KeyOperation> operation;
      bool open = false;
      {
        MutexLock lock(mu_);
        open = opening_;
        if (!open) operation = queue_.Pop();
        if (operation.has_value()) {
          // The timer may be on its way; whoever has taken the operation from the queue answers it.
          CancelTimer(operation->deadline_timer);
          running_.finish = std::move(operation->finish);
        }
      }
      if (open) {
        go_on = Open(epoch, *provider);
      } else if (operation.has_value()) {
        go_on = Execute(epoch, *provider, *std::move(operation));
      }
    }
    // Closing the provider may hang as well: still before `thread_ended_`.
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
         !(state_ == ProviderState::kReady && queue_.size() > 0)) {
    changed_.Wait(mu_);
  }
  return epoch == epoch_ && !stopping_;
}

bool KeyWorker::Core::RunStep(uint64_t epoch, bool opening, absl::Duration limit,
                              absl::FunctionRef<void()> step) {
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return false;
    running_.step = ++last_step_;
    running_.opening = opening;
    running_.watchdog =
        scheduler_.RunAfter(limit, [weak = weak_from_this(), epoch, step = last_step_] {
          if (const std::shared_ptr<Core> core = weak.lock()) core->OnHung(epoch, step);
        });
  }
  step();
  MutexLock lock(mu_);
  if (epoch != epoch_) return false;
  running_.step = 0;
  CancelTimer(running_.watchdog);
  return true;
}

bool KeyWorker::Core::Open(uint64_t epoch, KeyProvider& provider) {
  absl::StatusOr<ProviderCapabilities> opened = absl::UnknownError("not opened");
  const auto open = [&] { opened = provider.Open(); };
  if (!RunStep(epoch, /*opening=*/true, options_.open_limit, open)) return false;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return false;
    opening_ = false;
    if (opened.ok()) {
      failed_openings_ = 0;
      capabilities_ = *std::move(opened);
      SetState(ProviderState::kReady, absl::OkStatus());
      return true;
    }
    NoteFailedOpening(opened.status());
    unserved = TakeQueue();
  }
  Deliver(std::move(unserved), opened.status());
  return true;
}

bool KeyWorker::Core::Execute(uint64_t epoch, KeyProvider& provider, KeyOperation operation) {
  absl::Status status;  // the operation's
  absl::Status usable;  // the provider's
  if (operation.deadline <= clock_.Boot()) {
    status = MakeError(Reason::kDeadlineExceeded, "the deadline passed in the hardware's queue");
  } else if (!Attempt(epoch, provider, operation, status, usable)) {
    return false;
  }
  absl::AnyInvocable<void(absl::Status)> finish;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (epoch != epoch_) return false;  // given up by Shutdown(), which has answered
    finish = std::move(running_.finish);
    if (!usable.ok()) {
      NoteFailedOpening(usable);
      unserved = TakeQueue();
    }
  }
  finish(std::move(status));
  if (!usable.ok()) Deliver(std::move(unserved), usable);
  return true;
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

void KeyWorker::Core::OnHung(uint64_t epoch, uint64_t step) {
  const absl::Status hung = MakeError(Reason::kHardwareTimeout, "the key hardware does not answer");
  const absl::Status waited =
      MakeError(Reason::kHardwareDegraded, "the key hardware does not answer");
  absl::AnyInvocable<void(absl::Status)> finish;
  std::vector<KeyOperation> unserved;
  {
    MutexLock lock(mu_);
    if (stopping_ || epoch != epoch_ || step != running_.step) return;
    const bool was_opening = running_.opening;
    finish = std::move(running_.finish);
    running_ = Running();
    unserved = TakeQueue();
    // Given up: from here on the thread is of an old epoch.
    thread_.detach();
    ++epoch_;
    ++abandoned_;
    thread_ended_ = true;
    opening_ = false;
    ++failed_openings_;
    SetState(ProviderState::kDegraded, waited);
    if (was_opening || abandoned_ >= options_.max_abandoned) {
      ScheduleOpening(options_.longest_retry);
    } else {
      StartThread();
    }
    BeginDelivery();
  }
  if (finish != nullptr) finish(hung);
  EndDelivery();
  Deliver(std::move(unserved), waited);
}

void KeyWorker::Core::NoteFailedOpening(const absl::Status& error) {
  absl::Duration retry = options_.longest_retry;
  if (StateAfter(error) == ProviderState::kAbsent) {
    retry = options_.first_retry;
    for (int i = 0; i < failed_openings_ && retry < options_.longest_retry; ++i) retry *= 2;
    retry = std::min(retry, options_.longest_retry);
  }
  ++failed_openings_;
  SetState(StateAfter(error), error);
  ScheduleOpening(retry);
}

void KeyWorker::Core::ScheduleOpening(absl::Duration delay) {
  if (stopping_) return;
  CancelTimer(opening_timer_);
  opening_timer_ = scheduler_.RunAfter(delay, [weak = weak_from_this()] {
    if (const std::shared_ptr<Core> core = weak.lock()) core->OnOpeningDue();
  });
}

void KeyWorker::Core::OnOpeningDue() {
  MutexLock lock(mu_);
  opening_timer_ = 0;
  if (stopping_ || opening_) return;
  if (!thread_ended_) {
    opening_ = true;
    changed_.NotifyAll();
  } else if (abandoned_ < options_.max_abandoned) {
    StartThread();
  } else {
    ScheduleOpening(options_.longest_retry);  // enough of them hang already
  }
}

void KeyWorker::Core::SetState(ProviderState state, absl::Status error) {
  const bool changed = !state_known_ || state != state_ || ReasonOf(error) != ReasonOf(last_error_);
  state_known_ = true;
  state_ = state;
  last_error_ = std::move(error);
  if (!changed) return;
  if (state == ProviderState::kReady) {
    Log(LogLevel::kInfo, "key hardware is ready", {{"hardware", capabilities_->hardware}});
  } else {
    Log(LogLevel::kWarning, "key hardware is not usable",
        {{"state", ProviderStateName(state)}, {"error", last_error_.message()}});
  }
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

// ---- The end

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

  std::thread thread;
  absl::AnyInvocable<void(absl::Status)> finish;
  bool ended = false;
  {
    MutexLock lock(mu_);
    const absl::Time give_up = absl::Now() + options_.shutdown_limit;
    while (!(thread_ended_ && delivering_ == 0) && absl::Now() < give_up) {
      changed_.WaitFor(mu_, give_up - absl::Now());
    }
    ended = thread_ended_;
    thread = std::move(thread_);
    finish = std::move(running_.finish);
    CancelTimer(running_.watchdog);
    running_ = Running();
    if (!ended) {
      ++epoch_;
      ++abandoned_;
    }
  }
  if (finish != nullptr) finish(ending);
  if (!thread.joinable()) return;
  if (ended) {
    thread.join();
  } else {
    thread.detach();
  }
}

// ---- The interface

KeyWorker::KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler,
                     Options options)
    : core_(std::make_shared<Core>(std::move(factory), clock, scheduler, options)) {
  core_->Start();
}

KeyWorker::KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler)
    : KeyWorker(std::move(factory), clock, scheduler, Options()) {}

KeyWorker::~KeyWorker() {
  core_->Shutdown();
}

namespace {

// Makes `call` an operation: what it returns is kept until `done` gets it.
template <typename T>
KeyOperation Returning(absl::AnyInvocable<absl::StatusOr<T>(KeyProvider&)> call,
                       absl::AnyInvocable<void(absl::StatusOr<T>)> done) {
  KeyOperation operation;
  const auto result = std::make_shared<T>();
  operation.attempt = [call = std::move(call), result](KeyProvider& provider) mutable {
    absl::StatusOr<T> answer = call(provider);
    if (!answer.ok()) return answer.status();
    *result = *std::move(answer);
    return absl::OkStatus();
  };
  operation.finish = [result, done = std::move(done)](absl::Status status) mutable {
    if (status.ok()) {
      done(std::move(*result));
    } else {
      done(std::move(status));
    }
  };
  return operation;
}

}  // namespace

KeyService::OperationId KeyWorker::Sign(
    SignRequest request, absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  const CallerKey caller = request.caller;
  const BootTime deadline = request.deadline;
  KeyOperation operation = Returning<std::string>(
      [request = std::move(request)](KeyProvider& provider) {
        return provider.Sign(request.key, request.public_key, request.algorithm, request.message);
      },
      std::move(done));
  operation.caller = caller;
  operation.deadline = deadline;
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::CreateKey(
    CreateRequest request, absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) {
  const CallerKey caller = request.caller;
  const BootTime deadline = request.deadline;
  KeyOperation operation = Returning<CreatedKey>(
      [request = std::move(request)](KeyProvider& provider) {
        return provider.CreateKey(request.algorithm, request.label);
      },
      std::move(done));
  operation.caller = caller;
  operation.deadline = deadline;
  operation.creation = true;
  operation.repeatable = false;  // the first try may have left a key in a token
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::DestroyKey(KeyReference key,
                                              absl::AnyInvocable<void(absl::Status)> done) {
  KeyOperation operation;
  operation.attempt = [key = std::move(key)](KeyProvider& provider) {
    return provider.DestroyKey(key);
  };
  operation.finish = std::move(done);
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::ListKeys(
    absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) {
  return core_->Submit(Returning<KeyInventory>(
      [](KeyProvider& provider) { return provider.ListKeys(); }, std::move(done)));
}

KeyService::OperationId KeyWorker::ProvisionParent(
    Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) {
  KeyOperation operation = Returning<ProvisionedParent>(
      [owner_auth = std::move(owner_auth)](
          KeyProvider& provider) -> absl::StatusOr<ProvisionedParent> {
        ParentProvisioner* const provisioner = provider.parent_provisioner();
        if (provisioner == nullptr) {
          return MakeError(Reason::kNotImplemented, "this key provider has no parent key");
        }
        return provisioner->ProvisionParent(owner_auth);
      },
      std::move(done));
  operation.repeatable = false;  // an authorization is tried once
  return core_->Submit(std::move(operation));
}

bool KeyWorker::Cancel(OperationId id) {
  return core_->Cancel(id);
}

ProviderStatus KeyWorker::status() const {
  return core_->status();
}

}  // namespace smartkey
