// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_manager.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/token/refresh_policy.h"
#include "daemon/token/refusals.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

absl::Status ShuttingDown() {
  return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
}

}  // namespace

TokenManager::TokenManager(const CurrentCatalog& catalog, RegistrationStore& store,
                           TokenMinter& minter, Scheduler& scheduler, const Clock& clock)
    : shared_(std::make_shared<Shared>(catalog, store, minter, scheduler, clock)) {}

TokenManager::~TokenManager() {
  std::unordered_map<RequestId, Waiter> left;
  std::map<std::string, Scheduler::TaskId> retries;
  std::map<TokenKey, Use> uses;
  {
    MutexLock lock(shared_->mu);
    shared_->stopped = true;
    left = std::move(shared_->waiters);
    shared_->waiters.clear();
    retries = std::move(shared_->retries);
    shared_->retries.clear();
    uses = std::move(shared_->uses);
    shared_->uses.clear();
  }
  for (const auto& [registration, retry] : retries) shared_->scheduler.Cancel(retry);
  for (const auto& [key, use] : uses) shared_->scheduler.Cancel(use.refresh);
  for (auto& [id, waiter] : left) {
    shared_->scheduler.Cancel(waiter.timer);
    waiter.done(ShuttingDown());
  }
}

bool TokenManager::Shared::IsHeldBack(const Registration& registration,
                                      const Generation& generation) const {
  const absl::Time now = clock.Now();
  return NextAttempt(registration, generation, now) > now;
}

absl::Status TokenManager::Shared::WhyHeldBack(const Registration& registration,
                                               const Generation& generation) const {
  return RefusalError(store.List(), registration, generation, "", clock.Now());
}

absl::Status TokenManager::Shared::MayMint(KeyService::CallerKey caller, const TokenKey& key,
                                           const std::string& token_endpoint, BootTime now) {
  if (absl::Status held_back = gate.Check(key, token_endpoint, now); !held_back.ok()) {
    return held_back;
  }
  if (flights.count(key) != 0) return absl::OkStatus();
  return budget.Take(absl::StrCat(caller, " ", key.registration_id), now);
}

void TokenManager::Shared::Detach(const std::shared_ptr<Flight>& flight) {
  const auto found = flights.find(flight->key);
  if (found != flights.end() && found->second == flight) flights.erase(found);
}

std::shared_ptr<TokenManager::Flight> TokenManager::Shared::StartFlight(
    KeyService::CallerKey caller, const Registration& registration, const TokenKey& key,
    const std::string& token_endpoint) {
  std::shared_ptr<Flight>& flight = flights[key];
  if (flight != nullptr) return nullptr;
  flight = std::make_shared<Flight>();
  flight->caller = caller;
  flight->key = key;
  flight->token_endpoint = token_endpoint;
  flight->patient = registration.patient;
  flight->fhir_user = registration.fhir_user;
  return flight;
}

TokenResult TokenManager::Shared::Look(const TokenRequest& request,
                                       RegistrationStore::Snapshot registration,
                                       const TokenKey& key, BootTime now, bool& usable) const {
  TokenResult result;
  result.registration = std::move(registration);
  result.generation = key.generation;
  result.token = cache.Find(key, now);
  if (result.token == nullptr) return result;
  const AccessToken& token = *result.token;
  const absl::Duration left = token.expires - now;
  const bool fresh = left > ExpiryMargin(token.lifetime);
  // Asking for more than the server ever gives would fetch a new one at every call.
  const bool impossible = request.min_valid > token.lifetime && now < token.refresh_after;
  result.min_valid_met = left >= request.min_valid;
  usable = fresh && (result.min_valid_met || impossible);
  return result;
}

TokenManager::RequestId TokenManager::GetAccessToken(TokenRequest request, BootTime deadline,
                                                     Done done) {
  Shared& s = *shared_;
  const RegistrationStore::Snapshot registration = s.store.Find(request.registration_id);
  if (registration == nullptr) {
    done(RegistrationNotFound());
    return 0;
  }
  // Before the cache is looked at: what is no longer configured gives nothing.
  if (absl::Status removed = s.catalog.Get()->CheckServerOf(*registration); !removed.ok()) {
    done(removed);
    return 0;
  }
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  // A registration that needs its person is still tried, the refused one once a day: the server may
  // have changed its mind, and a lost key be back.
  const bool given_up = !serving.ok() && !registration->suspension.has_value() &&
                        registration->serving() != nullptr &&
                        IsTriedAgain(*registration->serving());
  if (!serving.ok() && !given_up) {
    done(serving.status());
    return 0;
  }
  const Generation& generation = given_up ? *registration->serving() : **serving;
  const TokenKey key{registration->id, generation.number, ToScopeString(request.scopes)};
  const BootTime now = s.clock.Boot();
  bool usable = false;
  TokenResult result = s.Look(request, registration, key, now, usable);

  std::shared_ptr<Flight> started;
  RequestId id = 0;
  absl::Status held_back;
  bool wait = false;
  const bool refused = s.IsHeldBack(*registration, generation);
  const absl::Status refusal =
      refused && !usable ? s.WhyHeldBack(*registration, generation) : absl::OkStatus();
  {
    MutexLock lock(s.mu);
    if (s.stopped) {
      held_back = ShuttingDown();
    } else if (usable) {
      ++s.hits;
      s.NoteUse(key);
      if (now >= result.token->refresh_after && !refused && s.flights.count(key) == 0) {
        result.refresh_error = s.MayMint(request.caller, key, generation.token_endpoint, now);
        if (result.refresh_error.ok()) {
          started = s.StartFlight(request.caller, *registration, key, generation.token_endpoint);
        }
      }
    } else if (held_back = refused ? refusal
                                   : s.MayMint(request.caller, key, generation.token_endpoint, now);
               held_back.ok()) {
      wait = true;
      started = s.StartFlight(request.caller, *registration, key, generation.token_endpoint);
      id = s.next_id++;
      s.flights[key]->waiters.push_back(id);
      Waiter waiter;
      waiter.request = request;
      waiter.done = std::move(done);
      s.waiters.emplace(id, std::move(waiter));
    }
  }

  if (wait && deadline < BootTime::InfiniteFuture()) {
    const Scheduler::TaskId timer = s.scheduler.RunAfter(deadline - now, [shared = shared_, id] {
      shared->WaiterTimedOut(
          id, MakeError(Reason::kDeadlineExceeded, "no token before the caller's deadline"));
    });
    MutexLock lock(s.mu);
    const auto waiter = s.waiters.find(id);
    if (waiter != s.waiters.end()) {
      waiter->second.timer = timer;
    } else {
      s.scheduler.Cancel(timer);
    }
  }
  if (started != nullptr) {
    s.Fly(started, *registration, generation, request.scopes, request.caller);
  }
  if (wait) return id;

  if (usable) {
    result.source = result.refresh_error.ok() ? TokenSource::kCache : TokenSource::kStaleValid;
    done(std::move(result));
  } else if (result.token != nullptr && !given_up && ReasonOf(held_back) != Reason::kShuttingDown) {
    result.source = TokenSource::kStaleValid;
    result.refresh_error = held_back;
    done(std::move(result));
  } else if (given_up && !refused && ReasonOf(held_back) != Reason::kShuttingDown) {
    // What is to be done about it counts, not what the last attempt met with.
    done(WithRetryAfter(serving.status(), RetryAfterOf(held_back).value_or(absl::ZeroDuration())));
  } else {
    done(held_back);
  }
  return 0;
}

void TokenManager::Cancel(RequestId id) {
  shared_->WaiterTimedOut(id, MakeError(Reason::kCancelled, "the caller gave up"));
}

void TokenManager::Shared::WaiterTimedOut(RequestId id, absl::Status status) {
  Waiter waiter;
  {
    MutexLock lock(mu);
    const auto found = waiters.find(id);
    if (found == waiters.end()) return;
    waiter = std::move(found->second);
    waiters.erase(found);
  }
  scheduler.Cancel(waiter.timer);
  waiter.done(std::move(status));
}

TokenManager::ObserverId TokenManager::Observe(const std::string& registration_id,
                                               std::function<void()> changed) {
  MutexLock lock(shared_->mu);
  const ObserverId id = shared_->next_id++;
  shared_->observers[registration_id][id] = std::move(changed);
  return id;
}

void TokenManager::Unobserve(const std::string& registration_id, ObserverId id) {
  MutexLock lock(shared_->mu);
  const auto found = shared_->observers.find(registration_id);
  if (found == shared_->observers.end()) return;
  found->second.erase(id);
  if (found->second.empty()) shared_->observers.erase(found);
}

void TokenManager::Shared::NoteChange(const std::string& registration_id) {
  std::vector<std::function<void()>> told;
  {
    MutexLock lock(mu);
    const auto found = observers.find(registration_id);
    if (found == observers.end()) return;
    for (const auto& [id, changed] : found->second) told.push_back(changed);
  }
  for (const std::function<void()>& changed : told) changed();
}

TokenCache::Taken TokenManager::Forget(const std::string& registration_id) {
  TokenCache::Taken taken;
  std::vector<Waiter> waiting;
  {
    MutexLock lock(shared_->mu);
    taken = shared_->cache.TakeRegistration(registration_id);
    // Who asks from here on starts a new flight.
    for (auto flight = shared_->flights.begin(); flight != shared_->flights.end();) {
      if (flight->first.registration_id != registration_id) {
        ++flight;
        continue;
      }
      flight->second->forgotten = true;
      for (const RequestId id : flight->second->waiters) {
        const auto found = shared_->waiters.find(id);
        if (found == shared_->waiters.end()) continue;
        waiting.push_back(std::move(found->second));
        shared_->waiters.erase(found);
      }
      flight = shared_->flights.erase(flight);
    }
    shared_->gate.Forget(registration_id);
    shared_->ForgetUses(registration_id);
  }
  for (Waiter& waiter : waiting) {
    shared_->scheduler.Cancel(waiter.timer);
    waiter.done(shared_->WhyForgotten(registration_id));
  }
  shared_->NoteChange(registration_id);
  return taken;
}

TokenManagerStatus TokenManager::status() const {
  TokenManagerStatus status;
  status.cached_tokens = shared_->cache.size();
  MutexLock lock(shared_->mu);
  status.flights = static_cast<int>(shared_->flights.size());
  status.hits = shared_->hits;
  status.mints = shared_->mints;
  status.failures = shared_->failures;
  status.servers = shared_->gate.servers();
  return status;
}

}  // namespace smartkey
