// SPDX-License-Identifier: Apache-2.0
// Keys that nothing needs any more. Their generations stay in the record until the hardware has
// said that they are destroyed, so that a kill in between, or hardware that is away, leaves none
// behind.
#include <utility>

#include "base/crash_point.h"
#include "base/log.h"
#include "daemon/enrollment/enrollment_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

constexpr absl::Duration kTryAgain = absl::Hours(1);

// A client that nobody can use, since it is for another patient or its id is lost, and its key.
bool HasUselessKey(const Generation& generation) {
  const bool useless = generation.state == GenerationState::kOrphaned ||
                       (generation.state == GenerationState::kContextChanged &&
                        generation.first_token_at == absl::InfinitePast());
  return useless && !generation.key.blob.empty();
}

}  // namespace

void EnrollmentManager::Core::ClearUp(const std::string& registration_id) {
  const RegistrationStore::Snapshot registration = parts_.store.Find(registration_id);
  if (registration == nullptr) return;
  for (const Generation& one : registration->generations) {
    if (IsRetired(*registration, one)) {
      DestroyRetired(*registration, one);
    } else if (HasUselessKey(one)) {
      DropKey(*registration, one.number, [] {});
    }
  }
}

void EnrollmentManager::Core::ClearUpLater(const std::string& registration_id) {
  parts_.scheduler.RunAfter(kTryAgain, [core = shared_from_this(), registration_id] {
    {
      MutexLock lock(core->mu_);
      if (core->stopped_) return;
    }
    core->ClearUp(registration_id);
  });
}

bool EnrollmentManager::Core::IsDestroyed(const std::string& registration_id,
                                          const absl::Status& destroyed, bool ends_anyway) {
  if (destroyed.ok() || ends_anyway) return true;
  Log(LogLevel::kWarning, "a key that is not needed any more could not be destroyed: tried hourly",
      {{"registration", registration_id}, {"error", destroyed.message()}});
  ClearUpLater(registration_id);
  return false;
}

void EnrollmentManager::Core::DestroyRetired(const Registration& registration,
                                             const Generation& old) {
  parts_.keys.DestroyKey(old.key,
                         [core = shared_from_this(), id = registration.id, number = old.number,
                          ends_anyway = EndsWithItsReference(old.key)](absl::Status destroyed) {
                           if (!core->IsDestroyed(id, destroyed, ends_anyway)) return;
                           CrashPoint("renewal.old_key_destroyed");
                           core->parts_.store.Update(
                               id,
                               [number](Registration& changed) {
                                 std::erase_if(changed.generations, [&](const Generation& one) {
                                   return one.number == number && IsRetired(changed, one);
                                 });
                                 return absl::OkStatus();
                               },
                               [core, id](absl::StatusOr<RegistrationStore::Snapshot> removed) {
                                 if (!removed.ok()) return core->ClearUpLater(id);
                                 CrashPoint("renewal.old_generation_removed");
                               });
                         });
}

void EnrollmentManager::Core::DropKey(const Registration& registration, int number,
                                      absl::AnyInvocable<void()> done) {
  const Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr || generation->key.blob.empty()) return done();
  parts_.keys.DestroyKey(generation->key, [core = shared_from_this(), id = registration.id, number,
                                           ends_anyway = EndsWithItsReference(generation->key),
                                           done = std::move(done)](absl::Status destroyed) mutable {
    if (!core->IsDestroyed(id, destroyed, ends_anyway)) return done();
    CrashPoint("renewal.new_key_destroyed");
    core->parts_.store.Update(
        id,
        [number](Registration& changed) {
          Generation* dropped = FindLive(changed, number);
          if (dropped == nullptr) return RegistrationNotFound();
          dropped->key.blob.clear();
          return absl::OkStatus();
        },
        [core, id,
         done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> saved) mutable {
          if (saved.ok()) {
            CrashPoint("renewal.new_key_forgotten");
          } else if (ReasonOf(saved.status()) != Reason::kRegistrationNotFound) {
            core->ClearUpLater(id);
          }
          done();
        });
  });
}

}  // namespace smartkey
