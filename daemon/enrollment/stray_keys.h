// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "daemon/store/registration_store.h"
#include "hsm/key_service.h"

namespace smartkey {

// Keys that a token stores carry a label: "smartkeyd:<instance>:<registration>:<generation>".
std::string KeyLabel(absl::string_view instance_id, absl::string_view registration_id,
                     int generation);

// A key that the hardware stores, and what it is for.
struct StoredKey {
  KeyReference reference;
  std::string label;
  // Of the label; empty and 0 where it does not say.
  std::string registration_id;
  int generation = 0;
  // No record needs it: what a crash between making a key and writing it down leaves behind.
  bool stray = false;
};

// Tells the keys that records need from those that none does. In doubt a key is needed: one whose
// label names a generation on record is stray only if another key is known to be that generation's.
// Pure function.
std::vector<StoredKey> FindStrayKeys(const KeyInventory& inventory, absl::string_view instance_id,
                                     const std::vector<RegistrationStore::Snapshot>& registrations);

// Says in the log, once the hardware answers, that there are stray keys. Nothing is ever removed by
// itself. At start, after enrollments have cleared up; both must outlive the call.
void ReportStrayKeys(KeyService& keys, RegistrationStore& store);

}  // namespace smartkey
