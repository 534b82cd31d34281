// SPDX-License-Identifier: Apache-2.0
// Tokens in use are replaced between half and two thirds of their life, without waiting for a
// request that would then find an old one, or none after a long pause. One request alone is not
// use: a token that was fetched and never asked for again is left to expire.
#include <algorithm>
#include <utility>

#include "base/random.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

// A refresh at the end of the last of them would be for nobody.
constexpr int kUnusedPeriods = 3;
// A timer that comes so late has slept through a suspend, as all others have.
constexpr absl::Duration kLate = absl::Seconds(30);
// After failures that say nothing of when.
constexpr absl::Duration kLookAgain = absl::Minutes(1);

}  // namespace

void TokenManager::Shared::BeginPeriod(const TokenKey& key, const AccessToken& token, bool asked) {
  const auto [entry, is_new] = uses.try_emplace(key);
  Use& use = entry->second;
  if (is_new) {
    use.unused_periods = kUnusedPeriods;  // until it is asked for again
  } else {
    use.unused_periods = use.used ? 0 : std::min(use.unused_periods + 1, kUnusedPeriods);
    use.used = asked;
  }
  const BootTime now = clock.Boot();
  const absl::Duration wait = token.refresh_after - now;
  // Of an earlier process: all that have waited for the start do not come at once.
  const absl::Duration spread = std::min(kRetrySpread, (token.expires - now) / 2);
  PlanRefresh(key, use, wait > absl::ZeroDuration() ? wait : spread * RandomFraction());
}

void TokenManager::Shared::NoteUse(const TokenKey& key) {
  if (const auto found = uses.find(key); found != uses.end()) found->second.used = true;
}

void TokenManager::Shared::PlanNextRefresh(const TokenKey& key, const absl::Status& error) {
  const auto found = uses.find(key);
  if (found == uses.end()) return;
  absl::Duration wait = RetryAfterOf(error).value_or(kLookAgain);
  // Nor all that a server holds back in the moment when it lets go.
  if (AttemptGate::HoldsServer(error)) wait += kRetrySpread * RandomFraction();
  PlanRefresh(key, found->second, wait);
}

void TokenManager::Shared::PlanRefresh(const TokenKey& key, Use& use, absl::Duration wait) {
  if (stopped) return;
  const BootTime due = clock.Boot() + wait;
  const Scheduler::TaskId replaced =
      std::exchange(use.refresh, scheduler.RunAfter(wait, [weak = weak_from_this(), key, due] {
        if (const std::shared_ptr<Shared> shared = weak.lock()) shared->Refresh(key, due);
      }));
  if (replaced != 0) scheduler.Cancel(replaced);
}

void TokenManager::Shared::ForgetUses(const std::string& registration_id) {
  auto it = uses.lower_bound(TokenKey{registration_id, 0, ""});
  while (it != uses.end() && it->first.registration_id == registration_id) {
    scheduler.Cancel(it->second.refresh);
    it = uses.erase(it);
  }
}

void TokenManager::Shared::Refresh(const TokenKey& key, BootTime due) {
  const BootTime now = clock.Boot();
  const std::shared_ptr<const AccessToken> token = cache.Find(key, now);
  const RegistrationStore::Snapshot registration = store.Find(key.registration_id);
  const absl::StatusOr<const Generation*> serving =
      registration == nullptr ? absl::StatusOr<const Generation*>(RegistrationNotFound())
                              : ServingGeneration(*registration);
  // What is refused is tried by Retry(), for all its tokens; what is suspended, renewed or without
  // a server is not replaced.
  const bool goes_on = token != nullptr && serving.ok() && (*serving)->number == key.generation &&
                       !IsHeldBack(*registration, **serving) &&
                       catalog.Get()->CheckServerOf(*registration).ok();
  std::shared_ptr<Flight> flight;
  {
    MutexLock lock(mu);
    const auto found = uses.find(key);
    if (found == uses.end() || stopped) return;
    Use& use = found->second;
    use.refresh = 0;
    if (!goes_on || (!use.used && use.unused_periods + 1 >= kUnusedPeriods)) {
      uses.erase(found);
      return;
    }
    if (now - due > kLate) {
      const absl::Duration spread = std::min(kRetrySpread, (token->expires - now) / 2);
      return PlanRefresh(key, use, spread * RandomFraction());
    }
    // Asked for by a request that came first: its end plans the next one.
    if (flights.count(key) != 0 || now < token->refresh_after) return;
    const absl::Status held_back =
        MayMint(KeyService::kInternal, key, (*serving)->token_endpoint, now);
    if (!held_back.ok()) return PlanNextRefresh(key, held_back);
    flight = StartFlight(KeyService::kInternal, *registration, key, (*serving)->token_endpoint);
  }
  Fly(flight, *registration, **serving, ParseScope(key.scope), KeyService::kInternal);
}

}  // namespace smartkey
