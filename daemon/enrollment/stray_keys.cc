// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/stray_keys.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/log.h"

namespace smartkey {
namespace {

constexpr absl::string_view kPrefix = "smartkeyd:";

StoredKey ReadLabel(const ListedKey& listed, absl::string_view instance_id) {
  StoredKey key{.reference = listed.reference, .label = listed.label, .id = listed.id};
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

bool HasThumbprint(const StoredKey& key, absl::string_view thumbprint) {
  return absl::WebSafeBase64Escape(key.id) == thumbprint;
}

// A token does not keep which hash an RSA key is for, so a reference may read differently than on
// record; the thumbprint does not.
bool IsKeyOf(const StoredKey& key, const Generation& generation) {
  if (key.reference == generation.key) return true;
  return !generation.thumbprint.empty() && key.reference.provider == generation.key.provider &&
         HasThumbprint(key, generation.thumbprint);
}

// True if a record has this very key, whatever the label says; that is then what it is for.
bool IsOnRecord(StoredKey& key, const std::vector<RegistrationStore::Snapshot>& registrations) {
  for (const RegistrationStore::Snapshot& registration : registrations) {
    for (const Generation& generation : registration->generations) {
      if (!IsKeyOf(key, generation)) continue;
      key.registration_id = registration->id;
      key.generation = generation.number;
      return true;
    }
  }
  return false;
}

// One order to remove stray keys, on its way. Used by one thread at a time.
class StrayKeyRemoval : public std::enable_shared_from_this<StrayKeyRemoval> {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::vector<StoredKey>>)>;

  StrayKeyRemoval(KeyService& keys, RegistrationStore& store, const AuditLog& audit,
                  StrayKeyChoice choice, std::shared_ptr<std::atomic<bool>> cancelled,
                  std::function<void(const StoredKey&)> on_destroyed, Done done)
      : keys_(keys),
        store_(store),
        audit_(audit),
        choice_(std::move(choice)),
        cancelled_(std::move(cancelled)),
        on_destroyed_(std::move(on_destroyed)),
        done_(std::move(done)) {}

  void Start() {
    keys_.ListKeys([self = shared_from_this()](absl::StatusOr<KeyInventory> inventory) {
      if (!inventory.ok()) return self->done_(inventory.status());
      self->inventory_ = *std::move(inventory);
      if (absl::Status known = self->CheckChoice(); !known.ok()) return self->done_(known);
      self->RemoveNext();
    });
  }

 private:
  // What is stray now: a database that was recovered meanwhile may need a key again, and the audit
  // log may have a new one.
  absl::StatusOr<std::vector<StoredKey>> Strays() const {
    if (absl::Status status = store_.availability(); !status.ok()) return status;
    std::vector<StoredKey> keys =
        FindStrayKeys(inventory_, store_.instance_id(), store_.List(), audit_.condition().key);
    keys.erase(std::remove_if(keys.begin(), keys.end(), [](auto& key) { return !key.stray; }),
               keys.end());
    return keys;
  }

  bool IsChosen(const StoredKey& key) const {
    return choice_.all || absl::c_linear_search(choice_.ids, key.id);
  }

  absl::Status CheckChoice() const {
    absl::StatusOr<std::vector<StoredKey>> strays = Strays();
    if (!strays.ok()) return strays.status();
    for (const std::string& id : choice_.ids) {
      if (absl::c_any_of(*strays, [&](const StoredKey& key) { return key.id == id; })) continue;
      return WithRemedy(MakeError(Reason::kInvalidArgument, absl::StrCat("no stray key has the id ",
                                                                         absl::BytesToHexString(id),
                                                                         "; nothing was removed")),
                        "'smartkeyctl keys --all' shows the stray keys and their ids");
    }
    return absl::OkStatus();
  }

  void RemoveNext() {
    if (*cancelled_) return Fail(MakeError(Reason::kCancelled, "the removal was given up"));
    absl::StatusOr<std::vector<StoredKey>> strays = Strays();
    if (!strays.ok()) return Fail(strays.status());
    const auto next = absl::c_find_if(*strays, [&](const StoredKey& key) {
      return IsChosen(key) && absl::c_none_of(removed_, [&](const StoredKey& other) {
               return other.reference == key.reference;
             });
    });
    if (next == strays->end()) return done_(std::move(removed_));
    keys_.DestroyKey(next->reference,
                     [self = shared_from_this(), key = *next](absl::Status status) {
                       if (!status.ok()) return self->Fail(Annotate(status, Printable(key.label)));
                       Log(LogLevel::kInfo, "a stray key was removed from the token",
                           {{"key", Printable(key.label)}});
                       self->on_destroyed_(key);
                       self->removed_.push_back(key);
                       self->RemoveNext();
                     });
  }

  void Fail(const absl::Status& status) {
    done_(removed_.empty()
              ? status
              : Annotate(status, absl::StrCat("after ", removed_.size(), " had been removed")));
  }

  KeyService& keys_;
  RegistrationStore& store_;
  const AuditLog& audit_;
  const StrayKeyChoice choice_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  const std::function<void(const StoredKey&)> on_destroyed_;
  Done done_;
  KeyInventory inventory_;
  std::vector<StoredKey> removed_;
};

}  // namespace

std::string KeyLabel(absl::string_view instance_id, absl::string_view registration_id,
                     int generation) {
  return absl::StrCat(kPrefix, instance_id, ":", registration_id, ":", generation);
}

std::vector<StoredKey> FindStrayKeys(const KeyInventory& inventory, absl::string_view instance_id,
                                     const std::vector<RegistrationStore::Snapshot>& registrations,
                                     const absl::optional<std::string>& audit_key) {
  const auto signs = [&](const StoredKey& key) {
    return audit_key.has_value() && HasThumbprint(key, *audit_key);
  };
  std::vector<StoredKey> keys;
  for (const ListedKey& listed : inventory.keys) keys.push_back(ReadLabel(listed, instance_id));
  for (StoredKey& key : keys) {
    if (IsOnRecord(key, registrations) || signs(key)) continue;
    if (key.registration_id == kAuditKeyOwner) {
      key.stray = absl::c_any_of(keys, signs);
      continue;
    }
    const Generation* generation = FindGenerationOf(key, registrations);
    key.stray = generation == nullptr ||
                std::any_of(keys.begin(), keys.end(),
                            [&](const StoredKey& other) { return IsKeyOf(other, *generation); });
  }
  return keys;
}

void RemoveStrayKeys(KeyService& keys, RegistrationStore& store, const AuditLog& audit,
                     StrayKeyChoice choice, std::shared_ptr<std::atomic<bool>> cancelled,
                     std::function<void(const StoredKey&)> on_destroyed,
                     absl::AnyInvocable<void(absl::StatusOr<std::vector<StoredKey>>)> done) {
  std::make_shared<StrayKeyRemoval>(keys, store, audit, std::move(choice), std::move(cancelled),
                                    std::move(on_destroyed), std::move(done))
      ->Start();
}

void ReportStrayKeys(KeyService& keys, RegistrationStore& store, const AuditLog& audit) {
  keys.ListKeys([&store, &audit](absl::StatusOr<KeyInventory> inventory) {
    if (!inventory.ok()) return;  // that the hardware is not there is said elsewhere
    const std::vector<StoredKey> all =
        FindStrayKeys(*inventory, store.instance_id(), store.List(), audit.condition().key);
    const auto strays =
        std::count_if(all.begin(), all.end(), [](const StoredKey& key) { return key.stray; });
    if (strays == 0) return;
    Log(LogLevel::kWarning,
        "the token holds keys that nothing needs: 'smartkeyctl keys --all' shows them",
        {{"keys", strays}});
  });
}

}  // namespace smartkey
