// SPDX-License-Identifier: Apache-2.0
// The second half of an enrollment: from the redirect to the first token.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/enrollment/enrollment_core.h"
#include "daemon/token/refresh_policy.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

using Phase = PendingEnrollment::Phase;

// An initial token whose life is not known is not held longer than this.
constexpr absl::Duration kInitialTokenHold = absl::Seconds(60);
// Two POSTs at most, and the second only after a lost answer or an unreachable server.
constexpr int kMostPosts = 2;
constexpr absl::Duration kPostAgainAfter = absl::Seconds(1);
// How long whoever enrolls waits for the first token; it is tried on in the background.
constexpr absl::Duration kPatienceForFirstToken = absl::Minutes(2);
constexpr int kQuickVerifications = 40;
constexpr absl::Duration kSlowVerification = absl::Minutes(5);

// Whoever asks again and again, and gives up each time, is not remembered without end.
constexpr size_t kMostWaiters = 16;

bool AddWaiter(PendingEnrollment& pending, EnrollmentManager::EnrollDone& done) {
  if (pending.waiters.size() >= kMostWaiters) return false;
  pending.waiters.push_back(std::move(done));
  return true;
}

absl::Status TooManyWaiters() {
  return WithRetryAfter(MakeError(Reason::kRateLimited, "enough calls wait for this enrollment"),
                        absl::Seconds(10));
}

}  // namespace

void EnrollmentManager::Core::Complete(const Caller& caller, const std::string& id, Secret redirect,
                                       EnrollDone done) {
  if (absl::Status status = parts_.access.CheckEnroll(caller); !status.ok()) return done(status);
  Pending pending;
  absl::StatusOr<Secret> code = Secret();
  absl::optional<absl::StatusOr<RegistrationStore::Snapshot>> outcome;
  bool refused = false;  // by the person or the server: this enrollment is over
  {
    MutexLock lock(mu_);
    pending = FindPending(caller, id);
    if (pending != nullptr) {
      switch (pending->phase) {
        case Phase::kPreparing:
          pending = nullptr;
          break;
        case Phase::kEnded:
          outcome = pending->outcome;
          break;
        case Phase::kRunning:
          if (AddWaiter(*pending, done)) return;
          outcome = TooManyWaiters();
          break;
        case Phase::kWaiting:
          code = ParseRedirect(redirect.RevealSecret(), pending->state, pending->endpoints.issuer,
                               pending->endpoints.iss_parameter_supported);
          refused = ReasonOf(code.status()) == Reason::kConsentDenied ||
                    ReasonOf(code.status()) == Reason::kAuthorizationRefused;
          // A redirect that is not ours (wrong state) ends nothing: the right one may still come.
          if (code.ok() || refused) {
            pending->phase = Phase::kRunning;
            pending->waiters.push_back(std::move(done));
          }
          break;
      }
    }
  }
  if (pending == nullptr) {
    // After a restart only what became a registration is still known.
    const RegistrationStore::Snapshot finished = parts_.store.FindByEnrollment(id);
    const Generation* generation = finished == nullptr ? nullptr : finished->FindEnrollment(id);
    if (generation != nullptr && finished->owner_uid == caller.uid &&
        finished->owner_name == caller.user_name &&
        generation->first_token_at != absl::InfinitePast()) {
      return done(finished);
    }
    return done(MakeError(Reason::kEnrollmentNotFound, "no enrollment of that id is under way"));
  }
  if (outcome.has_value()) return done(*std::move(outcome));
  if (const RegistrationStore::Snapshot renewed = parts_.store.Find(pending->registration_id);
      code.ok() && renewed != nullptr) {
    if (absl::Status status = CheckStillManages(*pending, *renewed); !status.ok()) {
      return Abandon(pending, status);
    }
  }
  if (refused) return Abandon(pending, code.status());
  if (!code.ok()) return done(code.status());

  // The key first: the initial token is to be used the moment it is there, and a key may take
  // minutes.
  bool ready = false;
  auto shared_code = std::make_shared<Secret>(*std::move(code));
  {
    MutexLock lock(mu_);
    ready = pending->key.has_value();
    if (!ready) {
      pending->when_key_is_ready = [core = shared_from_this(), pending, shared_code] {
        core->ExchangeCode(pending, std::move(*shared_code));
      };
    }
  }
  if (ready) ExchangeCode(pending, std::move(*shared_code));
}

void EnrollmentManager::Core::ExchangeCode(Pending pending, Secret code) {
  if (!pending->key->ok()) {
    return Abandon(pending, Annotate(pending->key->status(), "making the hardware key"));
  }
  CrashPoint("enrollment.code_received");
  Step(pending, EnrollmentStep::kExchangingCode);
  CodeExchange exchange;
  exchange.address =
      TokenEndpointAddress{pending->endpoints.token_endpoint, pending->plan.server.ca_file,
                           pending->plan.server.allow_loopback_http};
  exchange.code = std::move(code);
  exchange.redirect_uri = pending->plan.redirect_uri;
  exchange.client_id = pending->plan.initial_client_id;
  exchange.code_verifier = std::move(pending->pkce.verifier);
  exchange.requested_scopes = pending->plan.scopes;
  exchange.requested_scopes.insert(kRegisterScope);
  token_endpoint_.ExchangeCode(
      std::move(exchange), [core = shared_from_this(), pending](absl::StatusOr<AccessToken> token) {
        core->TakeInitialToken(pending, std::move(token));
      });
}

void EnrollmentManager::Core::TakeInitialToken(Pending pending, absl::StatusOr<AccessToken> token) {
  if (!token.ok()) {
    const absl::Status error = ReasonOf(token.status()) == Reason::kRefusedByServer
                                   ? MakeError(Reason::kCodeRefused, token.status().message())
                                   : token.status();
    return Abandon(pending, Annotate(error, "exchanging the authorization code"));
  }
  CrashPoint("enrollment.code_exchanged");
  const ScopeSet granted = token->granted.value_or(pending->plan.scopes);
  if (pending->plan.server.require_register_scope && !GrantsRegistration(granted)) {
    return Abandon(pending, MakeError(Reason::kRegisterScopeNotGranted,
                                      absl::StrCat(pending->plan.server.name, " did not grant ",
                                                   kRegisterScope)));
  }
  pending->granted_scope = ToScopeString(granted);
  pending->initial_token = std::move(token->value);
  pending->initial_token_expires =
      std::min(token->expires, parts_.clock.Boot() + kInitialTokenHold);
  MarkRegistering(pending);
}

void EnrollmentManager::Core::EnrollWithInitialToken(const Caller& caller,
                                                     EnrollmentRequest request,
                                                     Secret initial_token,
                                                     absl::optional<absl::Duration> expires_in,
                                                     EnrollDone done, OnRecorded on_recorded) {
  if (absl::Status status = parts_.access.CheckEnroll(caller); !status.ok()) return done(status);
  if (initial_token.empty()) {
    return done(MakeError(Reason::kInvalidArgument, "the initial access token is missing"));
  }
  const BootTime received = parts_.clock.Boot();
  if (expires_in.has_value() && *expires_in <= absl::ZeroDuration()) {
    return done(MakeError(Reason::kInitialTokenExpired, "the initial access token has expired"));
  }
  // The token of a retry has been spent by the first request: whoever asks again waits for that
  // one's end.
  absl::optional<absl::StatusOr<RegistrationStore::Snapshot>> outcome;
  {
    MutexLock lock(mu_);
    if (const Pending found = FindRequest(caller, request.request_id); found != nullptr) {
      if (found->phase == Phase::kRunning) {
        if (AddWaiter(*found, done)) return;
        outcome = TooManyWaiters();
      } else {
        outcome = found->phase == Phase::kEnded
                      ? *found->outcome
                      : MakeError(Reason::kNotReady, "the same request is being prepared already");
      }
    }
  }
  if (!outcome.has_value()) {
    if (const RegistrationStore::Snapshot finished = FindFinished(caller, request);
        finished != nullptr) {
      outcome = finished;
    }
  }
  if (outcome.has_value()) return done(*std::move(outcome));

  auto token = std::make_shared<Secret>(std::move(initial_token));
  // The hold counts from here. A slow RSA key is what may use it up: then the token's own life, if
  // known, decides.
  const BootTime expires = received + expires_in.value_or(absl::Minutes(5));
  Prepare(caller, std::move(request), /*with_browser=*/false,
          [core = shared_from_this(), token, expires, on_recorded = std::move(on_recorded),
           done = std::move(done)](absl::StatusOr<Pending> prepared) mutable {
            if (!prepared.ok()) return done(prepared.status());
            const Pending pending = *std::move(prepared);
            if (on_recorded) on_recorded(pending->registration_id);
            pending->initial_token = std::move(*token);
            pending->initial_token_expires = expires;
            {
              MutexLock lock(core->mu_);
              pending->phase = Phase::kRunning;
              pending->waiters.push_back(std::move(done));
              pending->when_key_is_ready = [core, pending] {
                if (pending->key->ok()) return core->MarkRegistering(pending);
                core->Abandon(pending, Annotate(pending->key->status(), "making the hardware key"));
              };
            }
            core->MakeKey(pending);
          });
}

void EnrollmentManager::Core::MarkRegistering(Pending pending) {
  Step(pending, EnrollmentStep::kRegistering);
  // Durable before the first byte of the POST: from here on a client may exist at the server.
  parts_.store.Update(
      pending->registration_id,
      [core = shared_from_this(), pending](Registration& registration) {
        Generation* generation = FindLive(registration, pending->generation);
        if (generation == nullptr) return RegistrationNotFound();
        if (absl::Status status = core->CheckStillManages(*pending, registration); !status.ok()) {
          return status;
        }
        generation->granted_scope = pending->granted_scope;
        return MoveState(generation->state, StateCause::kPostIsSent);
      },
      [core = shared_from_this(), pending](absl::StatusOr<RegistrationStore::Snapshot> saved) {
        if (!saved.ok()) return core->Abandon(pending, saved.status());
        CrashPoint("enrollment.registering");
        core->PostRegistration(pending);
      });
}

void EnrollmentManager::Core::PostRegistration(Pending pending) {
  if (parts_.clock.Boot() >= pending->initial_token_expires) {
    const absl::Status expired = MakeError(Reason::kInitialTokenExpired,
                                           "the initial access token expired before it was used");
    return pending->answer_lost ? Orphan(pending, expired) : Abandon(pending, expired);
  }
  ++pending->posts;
  RegistrationRequest request;
  request.registration_endpoint = pending->endpoints.registration_endpoint;
  request.initial_access_token = pending->initial_token.Clone();
  request.initial_client_id = pending->plan.initial_client_id;
  request.software_id = pending->plan.software_id;
  request.public_key = (*pending->key)->public_key;
  request.algorithm = pending->algorithm;
  request.body = pending->plan.server.registration_body;
  request.client_name = pending->plan.app_name;
  request.ca_file = pending->plan.server.ca_file;
  request.allow_loopback_http = pending->plan.server.allow_loopback_http;
  registration_endpoint_.Register(std::move(request), [core = shared_from_this(), pending](
                                                          absl::StatusOr<RegisteredClient> client) {
    if (!client.ok()) return core->RegistrationFailed(pending, client.status());
    CrashPoint("enrollment.registered");
    pending->initial_token = Secret();
    core->SaveClientId(pending, *std::move(client), 1);
  });
}

void EnrollmentManager::Core::RegistrationFailed(Pending pending, absl::Status error) {
  error = Annotate(error, absl::StrCat("registering with ", pending->plan.server.name));
  const bool unsent = NothingWasSent(error);
  const bool lost = !unsent && AnswerIsUnknown(error);
  pending->answer_lost = pending->answer_lost || lost;
  // A server that asks for time is not asked again before it has passed.
  const absl::Duration wait =
      std::max(kPostAgainAfter, RetryAfterOf(error).value_or(absl::ZeroDuration()));
  const bool in_time = parts_.clock.Boot() + wait < pending->initial_token_expires;
  if ((unsent || lost) && pending->posts < kMostPosts && in_time) {
    // Same token, same key: at worst a lax server makes two clients of which one is used.
    parts_.scheduler.RunAfter(
        wait, [core = shared_from_this(), pending] { core->PostRegistration(pending); });
    return;
  }
  CrashPoint("enrollment.refused");
  pending->initial_token = Secret();
  return pending->answer_lost ? Orphan(pending, error) : Abandon(pending, error);
}

void EnrollmentManager::Core::SaveClientId(Pending pending, RegisteredClient client, int attempt) {
  parts_.store.Update(
      pending->registration_id,
      [number = pending->generation, client, now = parts_.clock.Now()](Registration& registration) {
        Generation* generation = FindLive(registration, number);
        if (generation == nullptr) return RegistrationNotFound();
        generation->client_id = client.client_id;
        generation->requires_client_authentication = client.requires_client_authentication;
        generation->registered_at = now;
        return MoveState(generation->state, StateCause::kClientRegistered);
      },
      [core = shared_from_this(), pending, client,
       attempt](absl::StatusOr<RegistrationStore::Snapshot> saved) {
        if (attempt > 1) core->SetUnsaved(pending, false);
        if (saved.ok()) {
          CrashPoint("enrollment.client_recorded");
          pending->verify_since = core->parts_.clock.Boot();
          return core->Verify(pending);
        }
        if (ReasonOf(saved.status()) == Reason::kDuplicateClientId) {
          return core->Abandon(pending, saved.status());
        }
        if (ReasonOf(saved.status()) == Reason::kRegistrationNotFound) {
          // Deleted meanwhile. Without the key the client at the server is of no use to anybody.
          return core->DestroyKeyOf(pending, [core, pending, status = saved.status()](bool) {
            core->End(pending, status);
          });
        }
        // The only copy of the client_id is here: keep it, and tell whoever waits how things stand.
        Log(LogLevel::kError, "a registration could not be saved, trying again",
            {{"registration", pending->registration_id}, {"error", saved.status().message()}});
        const absl::Status told =
            MakeError(Reason::kRegisteredButNotDurable,
                      absl::StrCat("registered, but not saved: ", saved.status().message()));
        core->SetUnsaved(pending, true);
        core->AnswerWaiters(pending, told);
        core->parts_.scheduler.RunAfter(
            TransientBackoff(attempt, 0.5),
            [core, pending, client, attempt] { core->SaveClientId(pending, client, attempt + 1); });
      });
}

void EnrollmentManager::Core::Verify(Pending pending) {
  // Before the old generation gives way to the new one, which may take days.
  if (const RegistrationStore::Snapshot registration = parts_.store.Find(pending->registration_id);
      registration != nullptr) {
    if (absl::Status status = CheckStillManages(*pending, *registration); !status.ok()) {
      return Abandon(pending, status);
    }
  }
  if (pending->verifications == 0) Step(pending, EnrollmentStep::kVerifying);
  ++pending->verifications;
  parts_.tokens.FetchFirstToken(
      pending->registration_id, pending->generation,
      [core = shared_from_this(), pending](absl::StatusOr<TokenResult> result) {
        if (!result.ok()) return core->VerificationFailed(pending, result.status());
        // Nobody waits for hardware that destroys an old key.
        core->Succeed(pending, result->registration);
        core->ClearUp(result->registration->id);
      });
}

void EnrollmentManager::Core::VerificationFailed(Pending pending, absl::Status error) {
  const Reason reason = ReasonOf(error);
  if (reason == Reason::kRegistrationNotFound) return End(pending, error);  // deleted meanwhile
  const bool key_is_lost = reason == Reason::kKeyGone || reason == Reason::kKeyDamaged ||
                           reason == Reason::kKeyLostTpmCleared ||
                           reason == Reason::kKeyLostOtherMachine;
  if (reason == Reason::kMisconfigured || reason == Reason::kContextChanged || key_is_lost) {
    return VerificationEnded(pending, std::move(error));
  }
  {
    MutexLock lock(mu_);
    if (stopped_) return;
  }
  Log(LogLevel::kInfo, "the first token has not come yet",
      {{"registration", pending->registration_id},
       {"reason", ReasonName(reason)},
       {"error", error.message()}});
  // Refusals count for nothing here: a clustered server may need minutes until it knows the client.
  // A disk that is full may stay so for days.
  if (RegistrationStore::IsOut(error)) {
    AnswerWaiters(pending, Annotate(error, "registered; saving the first token"));
  } else if (parts_.clock.Boot() - pending->verify_since > kPatienceForFirstToken) {
    AnswerWaiters(pending, MakeError(Reason::kNotReady,
                                     absl::StrCat("registered; the first token has not come yet: ",
                                                  error.message())));
  }
  const absl::Duration wait = pending->verifications < kQuickVerifications
                                  ? VerifyingBackoff(pending->verifications)
                                  : kSlowVerification;
  parts_.scheduler.RunAfter(std::max(wait, RetryAfterOf(error).value_or(absl::ZeroDuration())),
                            [core = shared_from_this(), pending] { core->Verify(pending); });
}

void EnrollmentManager::Core::VerificationEnded(Pending pending, absl::Status error) {
  if (ReasonOf(error) == Reason::kContextChanged) {
    // A renewal that came back for somebody else, and stands so in the record by now: the old
    // generation goes on for its own patient, and nobody can use the new client any more.
    const RegistrationStore::Snapshot registration = parts_.store.Find(pending->registration_id);
    if (registration == nullptr) return End(pending, RegistrationNotFound());
    return DropKey(*registration, pending->generation,
                   [core = shared_from_this(), pending, error] { core->End(pending, error); });
  }
  parts_.store.Update(
      pending->registration_id,
      [number = pending->generation, error, now = parts_.clock.Now()](Registration& registration) {
        ApplyFailure(registration, number, error, now);
        return absl::OkStatus();
      },
      [core = shared_from_this(), pending, error](absl::StatusOr<RegistrationStore::Snapshot>) {
        core->End(pending, error);
      });
}

}  // namespace smartkey
