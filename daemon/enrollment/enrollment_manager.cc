// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/enrollment_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/enrollment/enrollment_core.h"
#include "daemon/token/refresh_policy.h"

namespace smartkey {

namespace {

constexpr int kMostPendingPerUid = 3;
constexpr int kMostPending = 32;
constexpr size_t kMostWatches = 16;  // of one
// How long an ended enrollment is remembered, so that Complete and Watch may ask again.
constexpr absl::Duration kRememberOutcome = absl::Minutes(10);

bool MayBeRemoved(GenerationState state) {
  return FindTransition(state, StateCause::kAbandoned) != nullptr ||
         FindTransition(state, StateCause::kKeyDestroyed) != nullptr;
}

absl::Status EnrollmentNotFound() {
  return MakeError(Reason::kEnrollmentNotFound, "no enrollment of that id is under way");
}

}  // namespace

Generation* FindLive(Registration& registration, int number) {
  Generation* generation = registration.FindGeneration(number);
  return generation == nullptr || generation->state == GenerationState::kDeleting ? nullptr
                                                                                  : generation;
}

EnrollmentManager::EnrollmentManager(Parts parts) : core_(std::make_shared<Core>(parts)) {}
EnrollmentManager::~EnrollmentManager() {
  core_->Stop();
}

void EnrollmentManager::Recover() {
  core_->Recover();
}

void EnrollmentManager::Begin(const Caller& caller, EnrollmentRequest request, BeginDone done) {
  core_->Begin(caller, std::move(request), std::move(done));
}

void EnrollmentManager::Complete(const Caller& caller, std::string enrollment_id, Secret redirect,
                                 EnrollDone done) {
  core_->Complete(caller, enrollment_id, std::move(redirect), std::move(done));
}

void EnrollmentManager::Cancel(const Caller& caller, std::string enrollment_id,
                               absl::AnyInvocable<void(absl::Status)> done) {
  core_->Cancel(caller, enrollment_id, std::move(done));
}

void EnrollmentManager::EnrollWithInitialToken(const Caller& caller, EnrollmentRequest request,
                                               Secret initial_token,
                                               absl::optional<absl::Duration> expires_in,
                                               EnrollDone done, OnRecorded on_recorded) {
  core_->EnrollWithInitialToken(caller, std::move(request), std::move(initial_token), expires_in,
                                std::move(done), std::move(on_recorded));
}

absl::StatusOr<EnrollmentManager::WatchId> EnrollmentManager::Watch(
    const Caller& caller, absl::string_view enrollment_id,
    absl::AnyInvocable<void(const EnrollmentProgress&)> on_step) {
  return core_->Watch(caller, enrollment_id, std::move(on_step));
}

void EnrollmentManager::Unwatch(WatchId id) {
  core_->Unwatch(id);
}

absl::optional<Caller> EnrollmentManager::BegunBy(absl::string_view enrollment_id) const {
  return core_->BegunBy(enrollment_id);
}

int EnrollmentManager::pending() const {
  return core_->pending();
}

int EnrollmentManager::unsaved() const {
  return core_->unsaved();
}

EnrollmentManager::Core::Core(Parts parts)
    : parts_(parts),
      discovery_(parts.http),
      registration_endpoint_(parts.http),
      token_endpoint_(parts.http, parts.clock) {}

void EnrollmentManager::Core::Stop() {
  std::vector<Pending> left;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    for (auto& [id, pending] : pending_) left.push_back(pending);
  }
  const absl::Status status = MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  for (const Pending& pending : left) AnswerWaiters(pending, status);
}

absl::optional<Caller> EnrollmentManager::Core::BegunBy(absl::string_view enrollment_id) const {
  MutexLock lock(mu_);
  const auto found = pending_.find(enrollment_id);
  if (found == pending_.end()) return absl::nullopt;
  return found->second->begun_by;
}

int EnrollmentManager::Core::pending() const {
  MutexLock lock(mu_);
  return static_cast<int>(std::count_if(pending_.begin(), pending_.end(), [](const auto& entry) {
    return entry.second->phase != PendingEnrollment::Phase::kEnded;
  }));
}

int EnrollmentManager::Core::unsaved() const {
  MutexLock lock(mu_);
  return static_cast<int>(std::count_if(pending_.begin(), pending_.end(),
                                        [](const auto& entry) { return entry.second->unsaved; }));
}

void EnrollmentManager::Core::SetUnsaved(const Pending& pending, bool unsaved) {
  MutexLock lock(mu_);
  pending->unsaved = unsaved;
}

EnrollmentManager::Core::Pending EnrollmentManager::Core::FindPending(const Caller& caller,
                                                                      absl::string_view id) {
  const auto found = pending_.find(id);
  // Another uid is told what a wrong id is told.
  return found != pending_.end() && found->second->uid == caller.uid ? found->second : nullptr;
}

EnrollmentManager::Core::Pending EnrollmentManager::Core::FindRequest(
    const Caller& caller, const std::string& request_id) {
  if (request_id.empty()) return nullptr;
  for (const auto& [id, pending] : pending_) {
    if (pending->uid != caller.uid || pending->request_id != request_id) continue;
    // One that failed is over: the same request may be tried anew.
    if (pending->outcome.has_value() && !pending->outcome->ok()) continue;
    return pending;
  }
  return nullptr;
}

RegistrationStore::Snapshot EnrollmentManager::Core::FindFinished(
    const Caller& caller, const EnrollmentRequest& request) const {
  if (request.request_id.empty()) return nullptr;
  // Ids are the callers' own to choose: another's registration may have the same.
  std::vector<RegistrationStore::Snapshot> may_be = parts_.access.ListOwn(caller);
  if (!request.renews.empty()) {
    may_be.clear();
    if (auto renewed = parts_.access.Find(caller, request.renews, Operation::kManage);
        renewed.ok()) {
      may_be.push_back(*std::move(renewed));
    }
  }
  const std::shared_ptr<const Catalog> catalog = parts_.catalog.Get();
  for (const RegistrationStore::Snapshot& one : may_be) {
    const auto by_base = catalog->FindServerByFhirBase(request.fhir_base);
    const bool same =
        (request.app_id.empty() || request.app_id == one->app_id) &&
        (request.server_name.empty() || request.server_name == catalog->ServerNameOf(*one)) &&
        (request.fhir_base.empty() || (by_base.ok() && *by_base == catalog->FindServerOf(*one)));
    if (!same) continue;
    for (const Generation& generation : one->generations) {
      if (generation.request_id == request.request_id &&
          generation.first_token_at != absl::InfinitePast()) {
        return one;
      }
    }
  }
  return nullptr;
}

absl::Status EnrollmentManager::Core::CheckStillManages(const PendingEnrollment& pending,
                                                        const Registration& registration) const {
  if (!pending.renewal) return absl::OkStatus();
  return parts_.access.Noted(
      parts_.access.Check(pending.begun_by, registration, Operation::kManage), pending.begun_by,
      OperationName(Operation::kManage), registration.id);
}

absl::Status EnrollmentManager::Core::Admit(const Pending& pending) {
  MutexLock lock(mu_);
  if (stopped_) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  int all = 0;
  int own = 0;
  for (const auto& [id, other] : pending_) {
    if (other->phase == PendingEnrollment::Phase::kEnded) continue;
    // Looked for before, but two calls may have come at once: a token must not be spent twice.
    if (!pending->request_id.empty() && other->uid == pending->uid &&
        other->request_id == pending->request_id) {
      return MakeError(Reason::kNotReady, "the same request is being prepared already");
    }
    // What only waits for its first token is a registration, and may wait for days.
    if (other->progress.step == EnrollmentStep::kVerifying) continue;
    ++all;
    if (other->uid == pending->uid) ++own;
  }
  if (own >= kMostPendingPerUid || all >= kMostPending) {
    return WithRetryAfter(
        MakeError(Reason::kTooManyEnrollments,
                  own >= kMostPendingPerUid ? "this user has three enrollments under way already"
                                            : "32 enrollments are under way already"),
        absl::Minutes(10));
  }
  pending_.emplace(pending->id, pending);
  return absl::OkStatus();
}

void EnrollmentManager::Core::Cancel(const Caller& caller, const std::string& id,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  if (absl::Status status = parts_.access.CheckCaller(caller, "enroll"); !status.ok())
    return done(status);
  Pending pending;
  bool late = false;
  {
    MutexLock lock(mu_);
    pending = FindPending(caller, id);
    if (pending != nullptr && pending->phase == PendingEnrollment::Phase::kEnded) pending = nullptr;
    late = pending != nullptr && pending->phase != PendingEnrollment::Phase::kWaiting;
    if (pending != nullptr && !late) pending->phase = PendingEnrollment::Phase::kRunning;
  }
  if (late) {
    // The registration may have reached the server: it is carried through, and can then be deleted.
    return done(MakeError(Reason::kEnrollmentUnderWay,
                          "the enrollment is past the point where it can be cancelled"));
  }
  if (pending == nullptr) return done(EnrollmentNotFound());
  Abandon(pending, MakeError(Reason::kEnrollmentCancelled, "the enrollment was cancelled"));
  done(absl::OkStatus());
}

absl::StatusOr<EnrollmentManager::WatchId> EnrollmentManager::Core::Watch(
    const Caller& caller, absl::string_view id,
    absl::AnyInvocable<void(const EnrollmentProgress&)> on_step) {
  if (absl::Status status = parts_.access.CheckCaller(caller, "enroll"); !status.ok())
    return status;
  MutexLock lock(mu_);
  const Pending pending = FindPending(caller, id);
  if (pending == nullptr) return EnrollmentNotFound();
  if (pending->watches.size() >= kMostWatches) {
    return WithRetryAfter(MakeError(Reason::kRateLimited, "enough calls watch this enrollment"),
                          absl::Seconds(10));
  }
  on_step(pending->progress);
  const WatchId watch = next_watch_++;
  if (pending->phase != PendingEnrollment::Phase::kEnded) {
    pending->watches.emplace(watch, std::move(on_step));
  }
  return watch;
}

void EnrollmentManager::Core::Unwatch(WatchId id) {
  MutexLock lock(mu_);
  for (auto& [key, pending] : pending_) pending->watches.erase(id);
}

void EnrollmentManager::Core::Step(const Pending& pending, EnrollmentStep step) {
  MutexLock lock(mu_);
  pending->progress.step = step;
  // Under the lock, so that steps arrive in their order; `on_step` is bound not to call back.
  for (auto& [id, on_step] : pending->watches) on_step(pending->progress);
}

void EnrollmentManager::Core::AnswerWaiters(
    const Pending& pending, const absl::StatusOr<RegistrationStore::Snapshot>& answer) {
  std::vector<EnrollDone> waiters;
  {
    MutexLock lock(mu_);
    waiters = std::move(pending->waiters);
    pending->waiters.clear();
  }
  for (EnrollDone& done : waiters) done(answer);
}

void EnrollmentManager::Core::End(const Pending& pending,
                                  absl::StatusOr<RegistrationStore::Snapshot> outcome) {
  Scheduler::TaskId expiry = 0;
  {
    MutexLock lock(mu_);
    pending->phase = PendingEnrollment::Phase::kEnded;
    pending->outcome = outcome;
    pending->initial_token = Secret();
    pending->pkce.verifier = Secret();
    pending->progress.step = outcome.ok() ? EnrollmentStep::kDone : EnrollmentStep::kFailed;
    pending->progress.error = outcome.status();
    for (auto& [id, on_step] : pending->watches) on_step(pending->progress);
    pending->watches.clear();
    expiry = std::exchange(pending->expiry, 0);
  }
  parts_.scheduler.Cancel(expiry);
  AnswerWaiters(pending, outcome);
  parts_.scheduler.RunAfter(kRememberOutcome, [core = shared_from_this(), id = pending->id] {
    MutexLock lock(core->mu_);
    core->pending_.erase(id);
  });
}

void EnrollmentManager::Core::Succeed(Pending pending, RegistrationStore::Snapshot registration) {
  Log(LogLevel::kInfo, "enrolled",
      {{"registration", registration->id},
       {"generation", pending->generation},
       {"app", registration->app_id},
       {"server", registration->server_name},
       {"uid", registration->owner_uid}});
  End(pending, std::move(registration));
}

void EnrollmentManager::Core::DestroyKeyOf(const Pending& pending,
                                           absl::AnyInvocable<void(bool)> done) {
  KeyReference key;
  KeyService::OperationId making = 0;
  {
    MutexLock lock(mu_);
    pending->abandoned = true;
    if (pending->key.has_value() && pending->key->ok()) key = (*pending->key)->reference;
    if (!pending->key.has_value()) making = pending->making_key;
  }
  // A key that is queued is not made for nothing; one in the making is destroyed by NoteKey, which
  // finds the enrollment abandoned.
  if (making != 0) parts_.keys.Cancel(making);
  if (key.blob.empty()) return done(true);
  const bool ends_anyway = EndsWithItsReference(key);
  parts_.keys.DestroyKey(std::move(key), [id = pending->registration_id, ends_anyway,
                                          done = std::move(done)](absl::Status status) mutable {
    const bool destroyed = status.ok() || ends_anyway;
    if (!destroyed) {
      Log(LogLevel::kWarning, "a key could not be destroyed",
          {{"registration", id}, {"error", status.message()}});
    }
    done(destroyed);
  });
}

void EnrollmentManager::Core::RemoveRecord(const Pending& pending,
                                           absl::AnyInvocable<void(absl::Status)> done) {
  const RegistrationStore::Snapshot present = parts_.store.Find(pending->registration_id);
  const bool alone = present == nullptr || present->generations.size() < 2;
  if (alone && (present == nullptr || present->newest().number == pending->generation)) {
    return parts_.store.Remove(pending->registration_id, std::move(done));
  }
  parts_.store.Update(
      pending->registration_id,
      [number = pending->generation](Registration& registration) -> absl::Status {
        const Generation* one = registration.FindGeneration(number);
        if (one != nullptr && !MayBeRemoved(one->state)) {
          return MakeError(Reason::kInternal,
                           "the generation is not one that leaves nothing behind");
        }
        std::erase_if(registration.generations,
                      [number](const Generation& one) { return one.number == number; });
        return absl::OkStatus();
      },
      [done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
        done(updated.status());
      });
}

void EnrollmentManager::Core::Abandon(Pending pending, absl::Status error) {
  Log(LogLevel::kInfo, "enrollment ended without a registration",
      {{"registration", pending->registration_id},
       {"reason", ReasonName(ReasonOf(error))},
       {"error", error.message()}});
  // A key that stays in a token is reported there as a stray: no client has it for its own.
  DestroyKeyOf(pending, [core = shared_from_this(), pending, error](bool) {
    CrashPoint("abandonment.key_destroyed");
    core->RemoveRecord(pending, [core, pending, error](absl::Status removed) {
      if (removed.ok()) CrashPoint("abandonment.record_removed");
      if (!removed.ok()) {
        Log(LogLevel::kWarning, "the record of an ended enrollment could not be removed",
            {{"registration", pending->registration_id}, {"error", removed.message()}});
        core->RemoveRecordLater(pending, 1);
      }
      core->End(pending, error);
    });
  });
}

void EnrollmentManager::Core::RemoveRecordLater(Pending pending, int attempt) {
  parts_.scheduler.RunAfter(TransientBackoff(attempt, 0.5), [core = shared_from_this(), pending,
                                                             attempt] {
    // It may have been deleted, or found and cleared up with another database.
    const RegistrationStore::Snapshot present = core->parts_.store.Find(pending->registration_id);
    if (present == nullptr || present->FindGeneration(pending->generation) == nullptr) return;
    core->RemoveRecord(pending, [core, pending, attempt](absl::Status removed) {
      if (RegistrationStore::IsOut(removed)) core->RemoveRecordLater(pending, attempt + 1);
    });
  });
}

void EnrollmentManager::Core::Orphan(Pending pending, absl::Status error) {
  DestroyKeyOf(pending, [core = shared_from_this(), pending, error](bool destroyed) {
    CrashPoint("orphan.key_destroyed");
    core->RecordOrphan(pending, destroyed, 1, [core, pending, error] {
      core->End(pending,
                MakeError(Reason::kOrphaned,
                          absl::StrCat("the server may have registered a client whose id was "
                                       "lost: ",
                                       error.message())));
    });
  });
}

void EnrollmentManager::Core::RecordOrphan(Pending pending, bool destroyed, int attempt,
                                           absl::AnyInvocable<void()> tried) {
  parts_.store.Update(
      pending->registration_id,
      [number = pending->generation, destroyed](Registration& registration) {
        Generation* generation = FindLive(registration, number);
        if (generation == nullptr) return RegistrationNotFound();
        generation->last_error = Reason::kOrphaned;
        // Or else known until it is: a client at the server may belong to it.
        if (destroyed) generation->key.blob.clear();
        return MoveState(generation->state, StateCause::kAnswerLost);
      },
      [core = shared_from_this(), pending, destroyed, attempt,
       tried = std::move(tried)](absl::StatusOr<RegistrationStore::Snapshot> saved) mutable {
        CrashPoint("orphan.recorded");
        if (RegistrationStore::IsOut(saved.status())) {
          // The record says REGISTERING until then, also to the next start, which does the same.
          core->parts_.scheduler.RunAfter(
              TransientBackoff(attempt, 0.5), [core, pending, destroyed, attempt] {
                core->RecordOrphan(pending, destroyed, attempt + 1, [] {});
              });
        } else if (!destroyed) {
          core->ClearUpLater(pending->registration_id);
        }
        tried();
      });
}

void EnrollmentManager::Core::Recover() {
  for (const RegistrationStore::Snapshot& registration : parts_.store.List()) {
    for (const Generation& generation : registration->generations) {
      RecoverGeneration(*registration, generation);
    }
    ClearUp(registration->id);
  }
}

void EnrollmentManager::Core::RecoverGeneration(const Registration& registration,
                                                const Generation& generation) {
  const auto state = generation.state;
  if (state != GenerationState::kPending && state != GenerationState::kRegistering &&
      state != GenerationState::kVerifying) {
    return;
  }
  auto pending = std::make_shared<PendingEnrollment>();
  pending->id = generation.enrollment_id;
  pending->uid = registration.owner_uid;
  pending->registration_id = registration.id;
  pending->generation = generation.number;
  pending->phase = PendingEnrollment::Phase::kRunning;
  if (!generation.key.blob.empty()) {
    pending->key = CreatedKey{generation.key, generation.algorithm, generation.public_key,
                              generation.key_attributes, generation.key_public_area};
  }
  {
    MutexLock lock(mu_);
    pending_.emplace(pending->id, pending);
  }
  if (state == GenerationState::kPending) {
    // State and verifier died with the daemon: this redirect can no longer be taken.
    Abandon(pending, MakeError(Reason::kEnrollmentExpired,
                               "smartkeyd was started anew before the login was finished"));
  } else if (state == GenerationState::kRegistering) {
    Orphan(pending,
           MakeError(Reason::kOrphaned, "smartkeyd stopped while the server's answer was awaited"));
  } else {
    pending->verify_since = parts_.clock.Boot();
    Verify(pending);
  }
}

}  // namespace smartkey
