// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_remover.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/crash_point.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/token/refresh_policy.h"

namespace smartkey {

namespace {

// A page for people, of the newest generation that knows one.
std::string ManagementEndpoint(const Registration& registration) {
  for (auto it = registration.generations.rbegin(); it != registration.generations.rend(); ++it) {
    if (!it->management_endpoint.empty()) return it->management_endpoint;
  }
  return "";
}

// Destroys one key after the other, and says whether all are gone. A key that cannot be destroyed
// now does not hold the rest up.
void DestroyEach(KeyService& keys, std::vector<KeyReference> left, std::string registration_id,
                 bool all_so_far, absl::AnyInvocable<void(bool)> done) {
  if (left.empty()) return done(all_so_far);
  KeyReference key = std::move(left.back());
  left.pop_back();
  const bool ends_anyway = EndsWithItsReference(key);
  keys.DestroyKey(std::move(key),
                  [&keys, left = std::move(left), registration_id, all_so_far, ends_anyway,
                   done = std::move(done)](absl::Status status) mutable {
                    if (!status.ok() && !ends_anyway) {
                      Log(LogLevel::kWarning, "a key could not be destroyed",
                          {{"registration", registration_id}, {"error", status.message()}});
                    }
                    DestroyEach(keys, std::move(left), std::move(registration_id),
                                all_so_far && (status.ok() || ends_anyway), std::move(done));
                  });
}

}  // namespace

void RegistrationRemover::Remove(std::string registration_id,
                                 absl::AnyInvocable<absl::Status(const Registration&)> may,
                                 Done done, absl::AnyInvocable<void()> on_marked) {
  store_.Update(
      std::move(registration_id),
      [may = std::move(may)](Registration& registration) mutable {
        if (absl::Status status = may(registration); !status.ok()) return status;
        for (Generation& generation : registration.generations) {
          const absl::Status moved = MoveState(generation.state, StateCause::kDeleteCalled);
          if (!moved.ok()) return moved;
        }
        return absl::OkStatus();
      },
      [this, on_marked = std::move(on_marked),
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> marked) mutable {
        if (!marked.ok()) return done(marked.status());
        if (on_marked) on_marked();
        CrashPoint("deletion.marked");
        RevokeTokens(*std::move(marked), std::move(done));
      });
}

void RegistrationRemover::RevokeTokens(RegistrationStore::Snapshot registration, Done done) {
  // Before the keys go: a client may have to authenticate itself at the revocation endpoint.
  const TokenCache::Taken tokens = tokens_.Forget(registration->id);
  revoker_.Revoke(*registration, tokens,
                  [this, registration, done = std::move(done)](int revoked) mutable {
                    CrashPoint("deletion.tokens_revoked");
                    Removed removed;
                    removed.tokens_revoked = revoked;
                    removed.management_endpoint = ManagementEndpoint(*registration);
                    DestroyKeys(std::move(registration), std::move(removed), std::move(done));
                  });
}

void RegistrationRemover::DestroyKeys(RegistrationStore::Snapshot registration, Removed removed,
                                      Done done) {
  std::vector<KeyReference> keys;
  for (const Generation& generation : registration->generations) {
    if (!generation.key.blob.empty()) keys.push_back(generation.key);
  }
  DestroyEach(keys_, std::move(keys), registration->id, /*all_so_far=*/true,
              [this, id = registration->id, removed = std::move(removed),
               done = std::move(done)](bool all_destroyed) mutable {
                CrashPoint("deletion.keys_destroyed");
                removed.keys_destroyed = all_destroyed;
                RemoveRecord(std::move(id), std::move(removed), std::move(done));
              });
}

void RegistrationRemover::RemoveRecord(std::string registration_id, Removed removed, Done done) {
  store_.Remove(registration_id, [this, registration_id, removed = std::move(removed),
                                  done = std::move(done)](absl::Status gone) mutable {
    if (RegistrationStore::IsOut(gone)) RemoveRecordLater(registration_id, 1);
    // An enrollment under way, or a second call, may have cleared up first.
    if (!gone.ok() && ReasonOf(gone) != Reason::kRegistrationNotFound) {
      return done(Annotate(gone, "deleted, but its record is still on the disk"));
    }
    CrashPoint("deletion.record_removed");
    Log(LogLevel::kInfo, "registration deleted",
        {{"registration", registration_id}, {"tokens_revoked", removed.tokens_revoked}});
    done(std::move(removed));
  });
}

void RegistrationRemover::RemoveRecordLater(std::string registration_id, int attempt) {
  scheduler_.RunAfter(TransientBackoff(attempt, 0.5),
                      [this, id = std::move(registration_id), attempt] {
                        const RegistrationStore::Snapshot present = store_.Find(id);
                        if (present == nullptr || present->state() != GenerationState::kDeleting)
                          return;
                        store_.Remove(id, [this, id, attempt](absl::Status gone) {
                          if (RegistrationStore::IsOut(gone))
                            return RemoveRecordLater(id, attempt + 1);
                          if (gone.ok())
                            Log(LogLevel::kInfo, "registration deleted", {{"registration", id}});
                        });
                      });
}

void RegistrationRemover::Recover() {
  for (const RegistrationStore::Snapshot& registration : store_.List()) {
    if (registration->state() != GenerationState::kDeleting) continue;
    const auto was_ordered = [](const Registration&) { return absl::OkStatus(); };
    Remove(registration->id, was_ordered, [id = registration->id](absl::StatusOr<Removed> removed) {
      if (removed.ok()) return;
      Log(LogLevel::kWarning, "a deletion could not be finished",
          {{"registration", id}, {"error", removed.status().message()}});
    });
  }
}

}  // namespace smartkey
