// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "daemon/access/audit_log.h"
#include "daemon/store/registration_store.h"
#include "hsm/key_service.h"

namespace smartkey {

// Keys that a token stores carry a label: "smartkeyd:<instance>:<registration>:<generation>".
std::string KeyLabel(absl::string_view instance_id, absl::string_view registration_id,
                     int generation);

// What stands in a label in the place of a registration: a key that signs the audit log, or did.
inline constexpr char kAuditKeyOwner[] = "audit";

// A key that the hardware stores, and what it is for.
struct StoredKey {
  KeyReference reference;
  std::string label;
  std::string id;  // as ListedKey
  // Of the label; empty and 0 where it does not say.
  std::string registration_id;
  int generation = 0;
  // No record needs it: what a crash between making a key and writing it down leaves behind.
  bool stray = false;
};

// Tells the keys that records need from those that none does. In doubt a key is needed: one whose
// label names a generation on record is stray only if another key is known to be that generation's;
// one of the audit log's only if the one that signs now is among the keys. `audit_key` is that
// one's thumbprint, as AuditCondition has it. Pure function.
std::vector<StoredKey> FindStrayKeys(const KeyInventory& inventory, absl::string_view instance_id,
                                     const std::vector<RegistrationStore::Snapshot>& registrations,
                                     const absl::optional<std::string>& audit_key);

// Which stray keys to remove.
struct StrayKeyChoice {
  bool all = false;
  std::vector<std::string> ids;  // StoredKey::id; unless `all`
};

// Destroys stray keys, one after the other, and gives those that it destroyed. A key that a
// registration or the audit log needs is never touched, also if it is needed only since the last
// one was destroyed. `on_destroyed` runs for each as soon as it is gone; `done` once, at the end;
// both as KeyService says. All must outlive that.
//
// Errors: kInvalidArgument for an id that is not a stray key's, kStoreUnavailable while it is not
// known which keys are needed (nothing was destroyed in either case), kCancelled after `cancelled`
// was set, and those of the hardware: then what was destroyed before stays so, and the message says
// how many that is.
void RemoveStrayKeys(KeyService& keys, RegistrationStore& store, const AuditLog& audit,
                     StrayKeyChoice choice, std::shared_ptr<std::atomic<bool>> cancelled,
                     std::function<void(const StoredKey&)> on_destroyed,
                     absl::AnyInvocable<void(absl::StatusOr<std::vector<StoredKey>>)> done);

// Says in the log, once the hardware answers, that there are stray keys. Nothing is ever removed by
// itself. At start, after enrollments have cleared up; all must outlive the call.
void ReportStrayKeys(KeyService& keys, RegistrationStore& store, const AuditLog& audit);

}  // namespace smartkey
