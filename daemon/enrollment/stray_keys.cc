// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/stray_keys.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"

namespace smartkey {
namespace {

constexpr absl::string_view kPrefix = "smartkeyd:";

StoredKey ReadLabel(const ListedKey& listed, absl::string_view instance_id) {
  StoredKey key{.reference = listed.reference, .label = listed.label};
  const std::vector<std::string> parts = absl::StrSplit(listed.label, ':');
  int generation = 0;
  if (parts.size() == 4 && absl::StrCat(parts[0], ":") == kPrefix && parts[1] == instance_id &&
      absl::SimpleAtoi(parts[3], &generation) && generation > 0) {
    key.registration_id = parts[2];
    key.generation = generation;
  }
  return key;
}

const Generation* FindGenerationOf(const StoredKey& key,
                                   const std::vector<RegistrationStore::Snapshot>& registrations) {
  for (const RegistrationStore::Snapshot& registration : registrations) {
    if (registration->id == key.registration_id) {
      return registration->FindGeneration(key.generation);
    }
  }
  return nullptr;
}

// True if a record has this very reference, whatever the label says; that is then what it is for.
bool IsOnRecord(StoredKey& key, const std::vector<RegistrationStore::Snapshot>& registrations) {
  for (const RegistrationStore::Snapshot& registration : registrations) {
    for (const Generation& generation : registration->generations) {
      if (!(generation.key == key.reference)) continue;
      key.registration_id = registration->id;
      key.generation = generation.number;
      return true;
    }
  }
  return false;
}

}  // namespace

std::string KeyLabel(absl::string_view instance_id, absl::string_view registration_id,
                     int generation) {
  return absl::StrCat(kPrefix, instance_id, ":", registration_id, ":", generation);
}

std::vector<StoredKey> FindStrayKeys(
    const KeyInventory& inventory, absl::string_view instance_id,
    const std::vector<RegistrationStore::Snapshot>& registrations) {
  std::vector<StoredKey> keys;
  for (const ListedKey& listed : inventory.keys) keys.push_back(ReadLabel(listed, instance_id));
  for (StoredKey& key : keys) {
    if (IsOnRecord(key, registrations)) continue;
    const Generation* generation = FindGenerationOf(key, registrations);
    key.stray =
        generation == nullptr || std::any_of(keys.begin(), keys.end(), [&](const StoredKey& other) {
          return other.reference == generation->key;
        });
  }
  return keys;
}

void ReportStrayKeys(KeyService& keys, RegistrationStore& store) {
  keys.ListKeys([&store](absl::StatusOr<KeyInventory> inventory) {
    if (!inventory.ok()) return;  // that the hardware is not there is said elsewhere
    const std::vector<StoredKey> all = FindStrayKeys(*inventory, store.instance_id(), store.List());
    const auto strays =
        std::count_if(all.begin(), all.end(), [](const StoredKey& key) { return key.stray; });
    if (strays == 0) return;
    Log(LogLevel::kWarning,
        "the token holds keys that no registration needs: 'smartkeyctl keys --all' shows them",
        {{"keys", strays}});
  });
}

}  // namespace smartkey
