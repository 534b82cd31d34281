// SPDX-License-Identifier: Apache-2.0
// An app says that the FHIR server refused a token.
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

absl::StatusOr<TokenManager::Rejection> TokenManager::ReportRejected(
    const std::string& registration_id, KeyService::CallerKey caller, const Secret& token) {
  Shared& s = *shared_;
  const RegistrationStore::Snapshot registration = s.store.Find(registration_id);
  if (registration == nullptr) return RegistrationNotFound();
  if (absl::Status removed = s.catalog.Get()->CheckServerOf(*registration); !removed.ok()) {
    return removed;
  }
  Rejection rejection;
  const BootTime now = s.clock.Boot();
  std::shared_ptr<Flight> started;
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  const bool refused = !serving.ok() || s.IsHeldBack(*registration, **serving);
  {
    MutexLock lock(s.mu);
    // A token that is not there costs nothing: whoever reports late is not punished for it.
    const absl::optional<TokenKey> key = s.cache.FindToken(registration_id, token.RevealSecret());
    if (!key.has_value()) return rejection;
    const absl::Status allowed = s.reports.Take(absl::StrCat(caller, ":", registration_id), now);
    if (!allowed.ok()) return allowed;
    s.cache.Erase(*key);  // put in with `mu` held too, so that it is still the one
    rejection.dropped = true;
    const bool serves = !refused && (*serving)->number == key->generation;
    rejection.refreshing = serves && s.flights.count(*key) != 0;
    if (serves && !rejection.refreshing &&
        s.MayMint(caller, *key, (*serving)->token_endpoint, now).ok()) {
      started = s.StartFlight(caller, *registration, *key, (*serving)->token_endpoint);
      rejection.refreshing = true;
    }
  }
  if (started != nullptr) {
    s.Fly(started, *registration, **serving, ParseScope(started->key.scope), caller);
  }
  s.NoteChange(registration_id);
  return rejection;
}

}  // namespace smartkey
