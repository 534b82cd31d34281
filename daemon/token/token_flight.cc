// SPDX-License-Identifier: Apache-2.0
// One request to the server for all who wait, from the hardware to their answers.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/token/refresh_policy.h"
#include "daemon/token/refusals.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

// How often a working registration's last_token_at is written down.
constexpr absl::Duration kNoteTokensEvery = absl::Minutes(10);
// A refused registration whose try met with something else is not tried by itself before.
constexpr absl::Duration kLeastRetry = absl::Minutes(5);
constexpr absl::Duration kLookForALostKey = absl::Hours(24);

}  // namespace

void TokenManager::Shared::Fly(std::shared_ptr<Flight> flight, const Registration& registration,
                               const Generation& generation, const ScopeSet& scopes,
                               KeyService::CallerKey caller) {
  const std::string endpoint = flight->token_endpoint;
  slots.Start(endpoint, [self = shared_from_this(), flight, endpoint, registration, generation,
                         scopes, caller] {
    if (!self->MayStillFly(flight)) return self->slots.End(endpoint);
    self->minter.Mint(registration, generation, scopes, caller,
                      [self, flight, endpoint](absl::StatusOr<AccessToken> answer) {
                        self->Landed(flight, std::move(answer));
                        self->slots.End(endpoint);  // after what holds the next ones back is known
                      });
  });
}

bool TokenManager::Shared::MayStillFly(const std::shared_ptr<Flight>& flight) {
  const std::string& id = flight->key.registration_id;
  const RegistrationStore::Snapshot registration = store.Find(id);
  bool over = registration == nullptr;
  absl::Status held_back;
  {
    MutexLock lock(mu);
    over = over || stopped || flight->forgotten;
    held_back = gate.CheckServer(flight->token_endpoint, clock.Boot());
  }
  if (over) {
    Answer(flight, nullptr, registration, WhyForgotten(id));
    return false;
  }
  const Generation* generation = registration->FindGeneration(flight->key.generation);
  if (generation == nullptr || IsRetired(*registration, *generation)) {
    MoveOn(flight, registration);
    return false;
  }
  if (held_back.ok()) return true;
  // The server has asked for time while this one waited for its turn: it is not one more failure.
  if (IsTriedAgain(*generation)) {
    PlanRetry(id, std::max(kLeastRetry, RetryAfterOf(held_back).value_or(kLeastRetry)) +
                      kRetrySpread * RandomFraction());
  }
  Answer(flight, nullptr, registration, held_back);
  return false;
}

void TokenManager::Shared::Landed(const std::shared_ptr<Flight>& flight,
                                  absl::StatusOr<AccessToken> answer) {
  if (!answer.ok()) return Failed(flight, answer.status());

  const absl::Time wall_now = clock.Now();
  SetRefreshTime(*answer, clock.Boot(), wall_now, RandomFraction());
  auto token = std::make_shared<const AccessToken>(*std::move(answer));

  const RegistrationStore::Snapshot registration = store.Find(flight->key.registration_id);
  const Generation* generation =
      registration == nullptr ? nullptr : registration->FindGeneration(flight->key.generation);
  if (registration == nullptr) return Failed(flight, RegistrationNotFound());
  if (generation == nullptr || IsRetired(*registration, *generation)) {
    return MoveOn(flight, registration);
  }
  if (registration->suspension.has_value()) {
    return Failed(flight, ServingGeneration(*registration).status());
  }
  if (generation->state == GenerationState::kContextChanged ||
      generation->state == GenerationState::kDeleting) {
    return Failed(flight, CheckServes(*generation));  // became so while the answer was under way
  }
  if (!SameContext(*registration, *generation, *token)) return ContextChanged(flight, token);

  const bool pins = !registration->context_varies &&
                    ((registration->patient.empty() && !token->patient.empty()) ||
                     (registration->fhir_user.empty() && !token->fhir_user.empty()));
  const bool changes = pins || generation->state != GenerationState::kActive ||
                       wall_now - generation->last_token_at > kNoteTokensEvery;
  // A pinned patient is what protects every later answer: durable before the token is handed out.
  // That a registration works again, or when it last did, may be written while the token is used.
  if (!pins) Deliver(flight, token, registration);
  if (changes) WriteDown(flight, token, pins);
}

void TokenManager::Shared::WriteDown(const std::shared_ptr<Flight>& flight,
                                     std::shared_ptr<const AccessToken> token, bool pins) {
  // The flight may have moved on by the time of the answer.
  store.Update(
      flight->key.registration_id,
      [token, number = flight->key.generation, now = clock.Now()](Registration& changed) {
        return ApplyToken(changed, number, *token, now);
      },
      [self = shared_from_this(), flight, token,
       pins](absl::StatusOr<RegistrationStore::Snapshot> updated) {
        if (updated.ok()) {
          if (pins) self->Deliver(flight, token, *std::move(updated));
          return;
        }
        Log(LogLevel::kWarning, "the use of a registration could not be written down",
            {{"registration", flight->key.registration_id}, {"error", updated.status().message()}});
        // The record may still say that it is refused: tried until that, too, is written down.
        if (!pins) return self->PlanRetry(flight->key.registration_id, kLeastRetry);
        if (ReasonOf(updated.status()) == Reason::kContextChanged) {
          return self->ContextChanged(flight, token);
        }
        self->Failed(flight, updated.status());
      });
}

void TokenManager::Shared::Deliver(const std::shared_ptr<Flight>& flight,
                                   std::shared_ptr<const AccessToken> token,
                                   RegistrationStore::Snapshot registration) {
  NoteSuccess(flight->key, flight->token_endpoint);
  cache.EraseExpired(clock.Boot());
  Log(LogLevel::kInfo, "token received",
      {{"registration", flight->key.registration_id},
       {"lifetime", absl::FormatDuration(absl::Trunc(token->lifetime, absl::Seconds(1)))}});
  Answer(flight, std::move(token), std::move(registration), absl::OkStatus());
}

void TokenManager::Shared::Failed(const std::shared_ptr<Flight>& flight, absl::Status error) {
  const RegistrationStore::Snapshot before = store.Find(flight->key.registration_id);
  if (before == nullptr) return Answer(flight, nullptr, before, Tell(flight, nullptr, error));
  const int number = flight->key.generation;
  const Generation* generation = before->FindGeneration(number);
  if (generation == nullptr || IsRetired(*before, *generation)) return MoveOn(flight, before);

  const absl::Time now = clock.Now();
  const bool others_are_refused = ReasonOf(error) == Reason::kRefusedByServer &&
                                  OthersAreRefused(store.List(), *before, *generation, now);
  Registration after = *before;
  if (!ApplyFailure(after, number, error, now, others_are_refused)) {
    return Answer(flight, nullptr, before, Tell(flight, &after, error));
  }
  store.Update(
      flight->key.registration_id,
      [number, error, now, others_are_refused](Registration& changed) {
        ApplyFailure(changed, number, error, now, others_are_refused);
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight, before, after = std::move(after),
       error](absl::StatusOr<RegistrationStore::Snapshot> updated) {
        const Registration& record = updated.ok() ? **updated : after;
        const absl::Status told = self->Tell(flight, &record, error);
        if (!updated.ok()) self->PlanRetryOf(*before, flight->key.generation);
        if (ReasonOf(told) == Reason::kReauthRequired) {
          self->cache.EraseRegistration(flight->key.registration_id);
        }
        self->Answer(flight, nullptr, updated.ok() ? *updated : before, told);
      });
}

void TokenManager::Shared::ContextChanged(const std::shared_ptr<Flight>& flight,
                                          std::shared_ptr<const AccessToken> token) {
  store.Update(
      flight->key.registration_id,
      [token, number = flight->key.generation](Registration& changed) {
        ApplyContextChange(changed, number, *token);
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight](absl::StatusOr<RegistrationStore::Snapshot> updated) {
        // Told and dropped even if it could not be written: the next answer would be compared
        // again.
        self->cache.EraseRegistration(flight->key.registration_id);
        const absl::Status told =
            self->Tell(flight, nullptr,
                       MakeError(Reason::kContextChanged,
                                 "the server named another patient or user than at enrollment"));
        if (!updated.ok()) {
          if (const RegistrationStore::Snapshot record =
                  self->store.Find(flight->key.registration_id);
              record != nullptr) {
            self->PlanRetryOf(*record, flight->key.generation);
          }
        }
        self->Answer(flight, nullptr, updated.ok() ? *updated : nullptr, told);
      });
}

void TokenManager::Shared::PlanRetryOf(const Registration& record, int number) {
  const Generation* generation = record.FindGeneration(number);
  if (generation != nullptr && IsTriedAgain(*generation)) PlanRetry(record.id, kLeastRetry);
}

absl::Status TokenManager::Shared::Tell(const std::shared_ptr<Flight>& flight,
                                        const Registration* after, const absl::Status& error) {
  const Generation* generation =
      after == nullptr ? nullptr : after->FindGeneration(flight->key.generation);
  absl::Status told = error;
  if (generation != nullptr && ReasonOf(error) == Reason::kRefusedByServer &&
      IsRefused(*generation)) {
    told = RefusalError(store.List(), *after, *generation, error.message(), clock.Now());
  }
  told = NoteFailure(flight->key, flight->token_endpoint, told);
  Log(LogLevel::kWarning, "no token",
      {{"registration", flight->key.registration_id},
       {"reason", ReasonName(ReasonOf(told))},
       {"error", told.message()}});
  if (generation != nullptr && IsTriedAgain(*generation)) {
    const absl::Duration least = IsRefused(*generation) ? kLeastRetry : kLookForALostKey;
    const absl::Duration spread =
        AttemptGate::HoldsServer(told) ? kRetrySpread * RandomFraction() : absl::ZeroDuration();
    PlanRetry(flight->key.registration_id,
              std::max(least, RetryAfterOf(told).value_or(least)) + spread);
  }
  return told;
}

void TokenManager::Shared::MoveOn(const std::shared_ptr<Flight>& flight,
                                  RegistrationStore::Snapshot registration) {
  // A renewal for a new patient: who asked before it was authorized for another one's record.
  const auto changed = [](const Identifying& before, const Identifying& now) {
    return !before.empty() && before != now;
  };
  if (changed(flight->patient, registration->patient) ||
      changed(flight->fhir_user, registration->fhir_user)) {
    return Answer(flight, nullptr, registration,
                  MakeError(Reason::kCancelled,
                            "the registration was renewed for another patient meanwhile"));
  }
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  if (!serving.ok()) return Answer(flight, nullptr, registration, serving.status());

  const Generation& next = **serving;
  const TokenKey key{registration->id, next.number, flight->key.scope};
  const BootTime now = clock.Boot();
  const std::shared_ptr<const AccessToken> cached = cache.Find(key, now);
  const bool fresh = cached != nullptr && cached->expires - now > ExpiryMargin(cached->lifetime);
  bool joined = false;
  bool over = false;
  absl::Status held_back = catalog.Get()->CheckServerOf(*registration);
  {
    MutexLock lock(mu);
    Detach(flight);
    flight->key = key;
    flight->token_endpoint = next.token_endpoint;
    over = fresh || flight->forgotten;
    const auto under_way = flights.find(key);
    joined = !over && held_back.ok() && under_way != flights.end();
    if (joined) {
      std::vector<RequestId>& waiting = under_way->second->waiters;
      waiting.insert(waiting.end(), flight->waiters.begin(), flight->waiters.end());
    } else if (!over && held_back.ok()) {
      held_back = MayMint(KeyService::kInternal, key, next.token_endpoint, now);
      if (held_back.ok()) flights[key] = flight;
    }
  }
  if (joined) return;
  if (!over && !held_back.ok()) return Answer(flight, nullptr, registration, held_back);
  if (over) return Answer(flight, cached, registration, absl::OkStatus());
  Fly(flight, *registration, next, ParseScope(key.scope), KeyService::kInternal);
}

void TokenManager::Shared::Answer(const std::shared_ptr<Flight>& flight,
                                  std::shared_ptr<const AccessToken> token,
                                  RegistrationStore::Snapshot registration,
                                  const absl::Status& error) {
  std::vector<Waiter> answered;
  bool forgotten = false;
  bool put = false;
  {
    MutexLock lock(mu);
    Detach(flight);
    forgotten = flight->forgotten;
    // Under the lock: Forget either sees the token in the cache or marks this flight before.
    put = token != nullptr && token->cacheable && !forgotten;
    if (put) {
      cache.Put(flight->key, token, flight->caller);
      BeginPeriod(flight->key, *token, !flight->waiters.empty());
    } else if (token == nullptr) {
      PlanNextRefresh(flight->key, error);
    }
    for (const RequestId id : flight->waiters) {
      const auto found = waiters.find(id);
      if (found == waiters.end()) continue;  // gave up before
      answered.push_back(std::move(found->second));
      waiters.erase(found);
    }
  }
  const BootTime now = clock.Boot();
  const std::shared_ptr<const AccessToken> kept =
      token == nullptr && registration != nullptr && !forgotten ? cache.Find(flight->key, now)
                                                                : nullptr;
  for (Waiter& waiter : answered) {
    scheduler.Cancel(waiter.timer);
    if (token == nullptr && kept == nullptr) {
      waiter.done(error);
      continue;
    }
    TokenResult result;
    result.token = token != nullptr ? token : kept;
    result.source = token != nullptr ? TokenSource::kFresh : TokenSource::kStaleValid;
    result.registration = registration;
    result.generation = flight->key.generation;
    result.min_valid_met = result.token->expires - now >= waiter.request.min_valid;
    result.refresh_error = error;
    waiter.done(std::move(result));
  }
  if (put) NoteChange(flight->key.registration_id);
}

absl::Status TokenManager::Shared::WhyForgotten(const std::string& registration_id) const {
  const RegistrationStore::Snapshot registration = store.Find(registration_id);
  if (registration == nullptr) return RegistrationNotFound();
  const absl::Status why = ServingGeneration(*registration).status();
  if (!why.ok()) return why;
  return MakeError(Reason::kCancelled, "the registration was changed while the token was fetched");
}

void TokenManager::Shared::NoteSuccess(const TokenKey& key, const std::string& token_endpoint) {
  MutexLock lock(mu);
  ++mints;
  gate.NoteSuccess(key, token_endpoint, clock.Boot(), clock.Now());
}

absl::Status TokenManager::Shared::NoteFailure(const TokenKey& key,
                                               const std::string& token_endpoint,
                                               const absl::Status& error) {
  MutexLock lock(mu);
  ++failures;
  return gate.NoteFailure(key, token_endpoint, error, clock.Boot(), clock.Now());
}

}  // namespace smartkey
