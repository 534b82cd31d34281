// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/scheduler.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/token_manager.h"
#include "daemon/token/token_revoker.h"
#include "hsm/key_service.h"

namespace smartkey {

// Ends registrations at their owner's or the administrator's word; nothing else ever does.
//
// Order: DELETING is made durable (nothing is handed out from here on), cached tokens are dropped,
// the server is told that they are not needed any more (TokenRevoker: seconds, and nothing depends
// on it), the hardware keys are destroyed, the record is removed from every file. A kill in between
// leaves DELETING, which Recover finishes; so does asking again. A record that cannot be removed
// because the disk is full is removed when it can be. The dynamic client at the server
// is left without a key and so without a use; there is no way to remove it there without RFC 7592.
// Thread-safe; asynchronous.
class RegistrationRemover {
 public:
  struct Removed {
    std::string management_endpoint;  // where a person may look at the server; empty: unknown
    int tokens_revoked = 0;           // that the server confirmed
    bool keys_destroyed =
        true;  // false: the hardware could not be asked, and keeps a key without use
  };

  RegistrationRemover(RegistrationStore& store, KeyService& keys, TokenManager& tokens,
                      const TokenRevoker& revoker, Scheduler& scheduler)
      : store_(store), keys_(keys), tokens_(tokens), revoker_(revoker), scheduler_(scheduler) {}

  // `may` says whether the caller may still have it removed; it is asked on the store's thread,
  // with the latest state, before anything is done. `done` runs exactly once. Errors: those of
  // `may`, kRegistrationNotFound, kStoreUnavailable. A key that cannot be destroyed now (hardware
  // absent) does not hold the removal up. `on_marked` runs before that, once DELETING is durable:
  // from there on it ends in a removal, at the latest after the next start.
  void Remove(std::string registration_id,
              absl::AnyInvocable<absl::Status(const Registration&)> may,
              absl::AnyInvocable<void(absl::StatusOr<Removed>)> done,
              absl::AnyInvocable<void()> on_marked = nullptr);

  // Finishes what a kill interrupted. At start, before the first request.
  void Recover();

 private:
  using Done = absl::AnyInvocable<void(absl::StatusOr<Removed>)>;

  // The steps after DELETING is durable.
  void RevokeTokens(RegistrationStore::Snapshot registration, Done done);
  void DestroyKeys(RegistrationStore::Snapshot registration, Removed removed, Done done);
  void RemoveRecord(std::string registration_id, Removed removed, Done done);
  void RemoveRecordLater(std::string registration_id, int attempt);

  RegistrationStore& store_;
  KeyService& keys_;
  TokenManager& tokens_;
  const TokenRevoker& revoker_;
  Scheduler& scheduler_;
};

}  // namespace smartkey
