// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_remover.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace smartkey {

namespace {

// A TPM stores nothing of a wrapped key: removing the record is what ends it, whether the chip
// answers or not.
bool EndsWithItsRecord(const KeyReference& key) {
  return key.provider == "tpm";
}

// Destroys one key after the other, and says whether all are gone. A key that cannot be destroyed
// now does not hold the rest up.
void DestroyKeys(KeyService& keys, std::vector<KeyReference> left, std::string registration_id,
                 bool all_so_far, absl::AnyInvocable<void(bool)> done) {
  if (left.empty()) return done(all_so_far);
  KeyReference key = std::move(left.back());
  left.pop_back();
  const bool ends_anyway = EndsWithItsRecord(key);
  keys.DestroyKey(std::move(key),
                  [&keys, left = std::move(left), registration_id, all_so_far, ends_anyway,
                   done = std::move(done)](absl::Status status) mutable {
                    if (!status.ok() && !ends_anyway) {
                      Log(LogLevel::kWarning, "a key could not be destroyed",
                          {{"registration", registration_id}, {"error", status.message()}});
                    }
                    DestroyKeys(keys, std::move(left), std::move(registration_id),
                                all_so_far && (status.ok() || ends_anyway), std::move(done));
                  });
}

}  // namespace

void RegistrationRemover::Remove(std::string registration_id,
                                 absl::AnyInvocable<void(absl::StatusOr<Removed>)> done) {
  store_.Update(
      registration_id,
      [](Registration& registration) {
        for (Generation& generation : registration.generations) {
          generation.state = GenerationState::kDeleting;
        }
        return absl::OkStatus();
      },
      [this, registration_id,
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> marked) mutable {
        if (!marked.ok()) return done(marked.status());
        tokens_.Forget(registration_id);
        Removed removed;
        removed.management_endpoint = (*marked)->newest().management_endpoint;
        std::vector<KeyReference> keys;
        for (const Generation& generation : (*marked)->generations) {
          if (!generation.key.blob.empty()) keys.push_back(generation.key);
        }
        DestroyKeys(
            keys_, std::move(keys), registration_id, /*all_so_far=*/true,
            [this, registration_id, removed = std::move(removed),
             done = std::move(done)](bool all_destroyed) mutable {
              removed.keys_destroyed = all_destroyed;
              store_.Remove(registration_id, [registration_id, removed = std::move(removed),
                                              done = std::move(done)](absl::Status gone) mutable {
                // An enrollment under way may have cleared up first.
                if (!gone.ok() && ReasonOf(gone) != Reason::kRegistrationNotFound) {
                  return done(gone);
                }
                Log(LogLevel::kInfo, "registration deleted", {{"registration", registration_id}});
                done(std::move(removed));
              });
            });
      });
}

void RegistrationRemover::Recover() {
  for (const RegistrationStore::Snapshot& registration : store_.List()) {
    if (registration->state() != GenerationState::kDeleting) continue;
    Remove(registration->id, [id = registration->id](absl::StatusOr<Removed> removed) {
      if (removed.ok()) return;
      Log(LogLevel::kWarning, "a deletion could not be finished",
          {{"registration", id}, {"error", removed.status().message()}});
    });
  }
}

}  // namespace smartkey
