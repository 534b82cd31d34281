// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "daemon/model/registration.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What a RegistrationStore holds in memory, and the rules that every store enforces before it
// writes: ids, names and client ids are unique. Shared by all stores, so that a fake is as strict
// as the disk. Not thread-safe: the owning store guards it.
class RegistrationIndex {
 public:
  using Snapshot = RegistrationStore::Snapshot;

  Snapshot Find(absl::string_view id) const;                            // null when absent
  Snapshot FindByEnrollment(absl::string_view enrollment_id) const;     // null when absent
  RegistrationStore::Listing List() const;                              // by creation time, then id
  std::vector<Snapshot> ListOwned(absl::string_view owner_name) const;  // by uid, then name
  Snapshot FindOwned(uid_t owner_uid, absl::string_view owner_name,
                     absl::string_view name) const;  // null when absent

  // Whether `registration` may be added, or may replace the one with its id. Errors: kNameTaken,
  // kDuplicateClientId (per token endpoint); CheckUpdate: kRegistrationNotFound; kInternal for what
  // only a bug makes: a used id or enrollment id, no generation, numbers not ascending, another
  // owner.
  absl::Status CheckInsert(const Registration& registration) const;
  absl::Status CheckUpdate(const Registration& registration) const;

  // Adds, or replaces what has the same id. To be called only with what was checked.
  void Put(Snapshot registration);
  void Erase(absl::string_view id);

 private:
  using OwnedName = std::tuple<std::string, uid_t, std::string>;  // owner name, owner uid, name
  using Age = std::pair<absl::Time, std::string>;                 // creation time, id
  using Client = std::pair<std::string, std::string>;             // token endpoint, client_id

  absl::Status CheckContent(const Registration& registration) const;

  std::map<std::string, Snapshot, std::less<>> by_id_;
  std::map<Age, Snapshot> by_age_;
  // Made by the first List after a change; null until then.
  mutable std::shared_ptr<const std::vector<Snapshot>> listing_;
  // The values of the three maps below are registration ids.
  std::map<OwnedName, std::string> by_name_;
  std::map<Client, std::string> by_client_;
  std::map<std::string, std::string, std::less<>> by_enrollment_;
};

// Cuts every time to the millisecond and every length of time to the second, which is what stores
// keep: a snapshot is the same before and after a restart.
void CutTimesToMilliseconds(Registration& registration);

// True if some key of `before` is in no generation of `after`: its blob has to vanish everywhere.
bool LosesAKey(const Registration& before, const Registration& after);

// True if `before` allows what `after` no longer does: a share that was withdrawn or changed, or
// use while it was not suspended or not private. An older state that is taken up again must not
// allow it anew.
bool LosesARight(const Registration& before, const Registration& after);

}  // namespace smartkey
