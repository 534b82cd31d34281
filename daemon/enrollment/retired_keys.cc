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

void EnrollmentManager::Core::DestroyRetired(const Registration& registration) {
  for (const Generation& old : registration.generations) {
    if (!IsRetired(registration, old)) continue;
    parts_.keys.DestroyKey(
        old.key, [core = shared_from_this(), id = registration.id, number = old.number,
                  ends_anyway = EndsWithItsReference(old.key)](absl::Status destroyed) {
          if (!destroyed.ok() && !ends_anyway) {
            Log(LogLevel::kWarning,
                "the key before a renewal could not be destroyed: tried at the next start",
                {{"registration", id}, {"error", destroyed.message()}});
            return;
          }
          CrashPoint("renewal.old_key_destroyed");
          core->parts_.store.Update(
              id,
              [number](Registration& changed) {
                std::erase_if(changed.generations, [&](const Generation& one) {
                  return one.number == number && IsRetired(changed, one);
                });
                return absl::OkStatus();
              },
              [](absl::StatusOr<RegistrationStore::Snapshot> removed) {
                // Else at the next start.
                if (removed.ok()) CrashPoint("renewal.old_generation_removed");
              });
        });
  }
}

void EnrollmentManager::Core::DropKey(const Registration& registration, int number,
                                      absl::AnyInvocable<void()> done) {
  const Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr || generation->key.blob.empty()) return done();
  parts_.keys.DestroyKey(generation->key, [core = shared_from_this(), id = registration.id, number,
                                           ends_anyway = EndsWithItsReference(generation->key),
                                           done = std::move(done)](absl::Status destroyed) mutable {
    if (!destroyed.ok() && !ends_anyway) {
      Log(LogLevel::kWarning,
          "the key of a renewal for another patient could not be destroyed: tried at the next "
          "start",
          {{"registration", id}, {"error", destroyed.message()}});
      return done();
    }
    CrashPoint("renewal.new_key_destroyed");
    core->parts_.store.Update(
        id,
        [number](Registration& changed) {
          Generation* dropped = FindLive(changed, number);
          if (dropped == nullptr) return RegistrationNotFound();
          dropped->key.blob.clear();
          return absl::OkStatus();
        },
        [done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot>) mutable {
          CrashPoint("renewal.new_key_forgotten");
          done();
        });
  });
}

}  // namespace smartkey
