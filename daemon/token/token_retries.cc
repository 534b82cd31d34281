// SPDX-License-Identifier: Apache-2.0
// Refused registrations are tried again by themselves: after 5 minutes, then hourly, and once a day
// when they need their person; and those whose key was lost at each start and once a day. So a
// server that has changed its mind, or a chip that is back, is noticed though no app asks any more.
#include <algorithm>
#include <utility>

#include "base/random.h"
#include "daemon/token/refusals.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

// What cannot be tried now, since it is suspended or its server is not configured, is looked at
// again.
constexpr absl::Duration kLookAgain = absl::Hours(1);

}  // namespace

void TokenManager::Recover() {
  const absl::Time now = shared_->clock.Now();
  for (const RegistrationStore::Snapshot& one : shared_->store.List()) {
    const Generation* serving = one->serving();
    if (serving == nullptr || !IsTriedAgain(*serving)) continue;
    const absl::Time next = std::max(now, NextAttempt(*one, *serving, now));
    shared_->PlanRetry(one->id, next - now + kRetrySpread * RandomFraction());
  }
}

void TokenManager::Shared::PlanRetry(const std::string& registration_id, absl::Duration wait) {
  Scheduler::TaskId replaced = 0;
  {
    // Planned and noted in one: a task that ran at once would find nothing to replace.
    MutexLock lock(mu);
    if (stopped) return;
    const Scheduler::TaskId planned =
        scheduler.RunAfter(wait, [weak = weak_from_this(), registration_id] {
          if (const std::shared_ptr<Shared> shared = weak.lock()) shared->Retry(registration_id);
        });
    replaced = std::exchange(retries[registration_id], planned);
  }
  if (replaced != 0) scheduler.Cancel(replaced);
}

void TokenManager::Shared::Retry(const std::string& registration_id) {
  {
    MutexLock lock(mu);
    if (stopped) return;
    retries.erase(registration_id);
  }
  const RegistrationStore::Snapshot registration = store.Find(registration_id);
  const Generation* serving = registration == nullptr ? nullptr : registration->serving();
  if (serving == nullptr || !IsTriedAgain(*serving)) return;  // healed, renewed or deleted
  if (registration->suspension.has_value() || !catalog.Get()->CheckServerOf(*registration).ok()) {
    return PlanRetry(registration_id, kLookAgain);
  }
  const absl::Time now = clock.Now();
  if (const absl::Time next = NextAttempt(*registration, *serving, now); next > now) {
    return PlanRetry(registration_id, next - now);  // somebody's request came first
  }
  const TokenKey key{registration_id, serving->number, ""};
  std::shared_ptr<Flight> flight;
  absl::Status held_back;
  {
    MutexLock lock(mu);
    if (stopped || flights.count(key) != 0) return;  // whose end plans the next one
    held_back = MayMint(KeyService::kInternal, key, serving->token_endpoint, clock.Boot());
    if (held_back.ok())
      flight = StartFlight(KeyService::kInternal, *registration, key, serving->token_endpoint);
  }
  if (flight == nullptr) {
    // Nor all that a server holds back in the moment when it lets go.
    return PlanRetry(registration_id, RetryAfterOf(held_back).value_or(kLookAgain) +
                                          kRetrySpread * RandomFraction());
  }
  Fly(flight, *registration, *serving, {}, KeyService::kInternal);
}

}  // namespace smartkey
