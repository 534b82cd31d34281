// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "daemon/model/registration.h"

namespace smartkey {

// Keeps registrations, each whole with its generations and shares, durably. Reads come from memory
// and never block on the disk. Writes are carried out one after the other; `done` runs after the
// data is on disk (fsync), exactly once, on the store's thread, and must not block. Thread-safe.
//
// A returned Registration is an immutable snapshot: later writes make a new one.
//
// Errors, as Reason: kStoreUnavailable (disk full, read-only, damaged: nothing was changed),
// kRegistrationNotFound, kNameTaken (per owner), kShuttingDown.
class RegistrationStore {
 public:
  using Snapshot = std::shared_ptr<const Registration>;

  // True for a write that failed and may work when the disk does again.
  static bool IsOut(const absl::Status& status) {
    return ReasonOf(status) == Reason::kStoreUnavailable || ReasonOf(status) == Reason::kStoreFull;
  }

  // Registrations as they were at one moment. A copy of it is a copy of one pointer.
  class Listing {
   public:
    explicit Listing(std::shared_ptr<const std::vector<Snapshot>> all) : all_(std::move(all)) {}
    auto begin() const { return all_->begin(); }
    auto end() const { return all_->end(); }
    size_t size() const { return all_->size(); }
    bool empty() const { return all_->empty(); }
    const Snapshot& operator[](size_t i) const { return (*all_)[i]; }
    // NOLINTNEXTLINE(google-explicit-constructor): it is one, which nobody can change.
    operator const std::vector<Snapshot>&() const { return *all_; }

   private:
    std::shared_ptr<const std::vector<Snapshot>> all_;  // not null
  };

  virtual ~RegistrationStore() = default;

  // Null when absent.
  virtual Snapshot Find(absl::string_view id) const = 0;
  // The registration one of whose generations has this enrollment id; null when absent.
  virtual Snapshot FindByEnrollment(absl::string_view enrollment_id) const = 0;
  // All, by creation time. Thousands at most: whoever looks at each of them takes a while.
  virtual Listing List() const = 0;
  // Those of the owners of that name, whatever their uid, by uid and name; and the one of that name
  // of exactly this owner, null when absent. They cost no look at others'.
  virtual std::vector<Snapshot> ListOwned(absl::string_view owner_name) const = 0;
  virtual Snapshot FindOwned(uid_t owner_uid, absl::string_view owner_name,
                             absl::string_view name) const = 0;

  // `may`, if given, runs on the store's thread when all earlier writes are done, and may refuse.
  virtual void Insert(Registration registration, absl::AnyInvocable<absl::Status()> may,
                      absl::AnyInvocable<void(absl::Status)> done) = 0;
  void Insert(Registration registration, absl::AnyInvocable<void(absl::Status)> done) {
    Insert(std::move(registration), nullptr, std::move(done));
  }

  // Reads, changes and writes one registration in one transaction. `change` runs on the store's
  // thread, sees the latest state, and may refuse: its error goes to `done` and nothing is written.
  // It may not change the id. `done` gets the new snapshot.
  virtual void Update(std::string id, absl::AnyInvocable<absl::Status(Registration&)> change,
                      absl::AnyInvocable<void(absl::StatusOr<Snapshot>)> done) = 0;

  // Removes it from every file (secure_delete, checkpointed): nothing of it can be read back.
  virtual void Remove(std::string id, absl::AnyInvocable<void(absl::Status)> done) = 0;

  // Called with the id of every registration that was added, changed or removed, once Find shows it
  // and before the write's `done`. Runs on the store's thread and must not block. There is one at a
  // time; null: nobody is told, though a call under way may still end.
  using Observer = std::function<void(const std::string& id)>;
  virtual void Observe(Observer observer) = 0;

  // This installation's id, made when the database was. Part of key labels.
  // While the store is unavailable it may be empty.
  virtual std::string instance_id() const = 0;

  // OK once the registrations have been read; otherwise why they cannot be. Then there seem to be
  // none, and none is to be said not to exist: whoever does not find one returns this. Stays OK.
  virtual absl::Status availability() const = 0;

  // OK, or why writes fail at the moment. Not OK while availability() is not.
  virtual absl::Status health() const = 0;
};

}  // namespace smartkey
