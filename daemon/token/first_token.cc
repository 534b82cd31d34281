// SPDX-License-Identifier: Apache-2.0
// The first token of a generation, with which it takes over: asked for by whoever enrolls, joined
// with nothing.
#include <memory>
#include <utility>

#include "base/crash_point.h"
#include "base/error.h"
#include "base/random.h"
#include "daemon/token/refresh_policy.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

// Pins and swaps, or notes whom the token named instead: `changed_context` says which.
absl::Status ApplyFirstToken(Registration& registration, int number, const AccessToken& token,
                             absl::Time now, bool& changed_context) {
  const absl::Status applied = ApplyToken(registration, number, token, now);
  changed_context = ReasonOf(applied) == Reason::kContextChanged &&
                    ApplyContextChange(registration, number, token);
  return changed_context ? absl::OkStatus() : applied;
}

}  // namespace

void TokenManager::FetchFirstToken(std::string registration_id, int number, Done done) {
  const RegistrationStore::Snapshot registration = shared_->store.Find(registration_id);
  const Generation* generation =
      registration == nullptr ? nullptr : registration->FindGeneration(number);
  if (generation == nullptr) return done(RegistrationNotFound());
  const TokenKey key{std::move(registration_id), number, ""};
  // In its turn, as every token request: many may enroll at one hospital at once.
  shared_->slots.Start(generation->token_endpoint, [shared = shared_, key,
                                                    endpoint = generation->token_endpoint,
                                                    done = std::move(done)]() mutable {
    const absl::StatusOr<RegistrationStore::Snapshot> registration =
        shared->CheckFirst(key, endpoint);
    if (!registration.ok()) {
      shared->slots.End(endpoint);
      return done(registration.status());
    }
    shared->minter.Mint(
        **registration, *(*registration)->FindGeneration(key.generation), {}, KeyService::kInternal,
        [shared, key, endpoint,
         done = std::move(done)](absl::StatusOr<AccessToken> answer) mutable {
          absl::Status failure = answer.status();
          if (AttemptGate::HoldsServer(failure)) {
            failure = shared->NoteFailure(key, endpoint, failure);
          }
          shared->slots.End(endpoint);  // after what holds the next ones back is known
          if (!answer.ok()) return done(failure);
          shared->TakeFirst(key, endpoint, *std::move(answer), std::move(done));
        });
  });
}

absl::StatusOr<RegistrationStore::Snapshot> TokenManager::Shared::CheckFirst(
    const TokenKey& key, const std::string& endpoint) {
  RegistrationStore::Snapshot registration = store.Find(key.registration_id);
  if (registration == nullptr || registration->FindGeneration(key.generation) == nullptr) {
    return RegistrationNotFound();
  }
  if (absl::Status removed = catalog.Get()->CheckServerOf(*registration); !removed.ok()) {
    return removed;
  }
  if (registration->suspension.has_value()) return ServingGeneration(*registration).status();
  MutexLock lock(mu);
  if (stopped) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  if (absl::Status held_back = gate.CheckServer(endpoint, clock.Boot()); !held_back.ok()) {
    return held_back;
  }
  return registration;
}

void TokenManager::Shared::TakeFirst(const TokenKey& key, const std::string& endpoint,
                                     AccessToken answer, Done done) {
  CrashPoint("enrollment.first_token");
  SetRefreshTime(answer, clock.Boot(), clock.Now(), RandomFraction());
  auto token = std::make_shared<const AccessToken>(std::move(answer));
  auto changed_context = std::make_shared<bool>(false);
  store.Update(
      key.registration_id,
      [token, number = key.generation, now = clock.Now(), changed_context](Registration& changed) {
        return ApplyFirstToken(changed, number, *token, now, *changed_context);
      },
      [shared = shared_from_this(), key, endpoint, token, changed_context,
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
        if (!updated.ok()) return done(updated.status());
        if (*changed_context) {
          CrashPoint("renewal.context_changed");
          return done(MakeError(Reason::kContextChanged,
                                "the server named another patient or user than at enrollment"));
        }
        CrashPoint("enrollment.active");
        for (int older = key.generation - 1; older > 0; --older) {
          shared->cache.EraseGeneration(key.registration_id, older);
        }
        // Suspended while the token was on its way: it counts as the first one, and is
        // dropped.
        const bool keep = token->cacheable && !(*updated)->suspension.has_value();
        if (keep) {
          MutexLock lock(shared->mu);
          shared->cache.Put(key, token);
          shared->BeginPeriod(key, *token, false);
        }
        shared->NoteSuccess(key, endpoint);
        if (keep) shared->NoteChange(key.registration_id);
        TokenResult result;
        result.token = token;
        result.source = TokenSource::kFresh;
        result.registration = *std::move(updated);
        result.generation = key.generation;
        done(std::move(result));
      });
}

}  // namespace smartkey
