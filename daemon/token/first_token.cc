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
  if (absl::Status removed = shared_->catalog.Get()->CheckServerOf(*registration); !removed.ok()) {
    return done(removed);
  }
  if (registration->suspension.has_value()) {
    return done(ServingGeneration(*registration).status());
  }

  const TokenKey key{registration_id, number, ""};
  absl::Status held_back;
  {
    MutexLock lock(shared_->mu);
    held_back = shared_->gate.CheckServer(generation->token_endpoint, shared_->clock.Boot());
  }
  if (!held_back.ok()) return done(held_back);
  shared_->minter.Mint(
      *registration, *generation, {}, KeyService::kInternal,
      [shared = shared_, key, endpoint = generation->token_endpoint,
       done = std::move(done)](absl::StatusOr<AccessToken> answer) mutable {
        if (!answer.ok()) {
          return done(AttemptGate::HoldsServer(answer.status())
                          ? shared->NoteFailure(key, endpoint, answer.status())
                          : answer.status());
        }
        CrashPoint("enrollment.first_token");
        SetRefreshTime(*answer, shared->clock.Boot(), shared->clock.Now(), RandomFraction());
        auto token = std::make_shared<const AccessToken>(*std::move(answer));
        auto changed_context = std::make_shared<bool>(false);
        shared->store.Update(
            key.registration_id,
            [token, number = key.generation, now = shared->clock.Now(),
             changed_context](Registration& changed) {
              return ApplyFirstToken(changed, number, *token, now, *changed_context);
            },
            [shared, key, endpoint, token, changed_context,
             done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
              if (!updated.ok()) return done(updated.status());
              if (*changed_context) {
                CrashPoint("renewal.context_changed");
                return done(
                    MakeError(Reason::kContextChanged,
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
      });
}

}  // namespace smartkey
