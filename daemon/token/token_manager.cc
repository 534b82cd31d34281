// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/token/mint_budget.h"
#include "daemon/token/refresh_policy.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

// How often a working registration's last_token_at is written down.
constexpr absl::Duration kNoteTokensEvery = absl::Minutes(10);
constexpr absl::Duration kDefaultBusyWait = absl::Seconds(5);
constexpr size_t kMostHeldRequests = 10'000;

double Jitter() {
  const std::string bytes = RandomBytes(2);
  const int value =
      (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]);
  return value / 65536.0;
}

// Failures after which the same request would fail again for a while. The others cost nothing to
// try anew (a key provider refuses at once by itself), or are the caller's own (invalid_scope).
enum class Hold {
  kNone,
  kRequest,     // these scopes of this registration
  kGeneration,  // the client as such was refused: other scopes would be too
  kServer,      // everybody's requests
};

Hold HoldFor(Reason reason) {
  switch (reason) {
    case Reason::kServerBusy:
      return Hold::kServer;
    case Reason::kNoNetwork:
    case Reason::kServerUnreachable:
    case Reason::kServerError:
    case Reason::kTlsNotTrusted:
    case Reason::kIntercepted:
    case Reason::kRedirectRefused:
    case Reason::kBadServerAnswer:
    case Reason::kUnexpectedStatus:
    case Reason::kRequestRefused:
    case Reason::kDeadlineExceeded:
      return Hold::kRequest;
    case Reason::kRefusedByServer:
    case Reason::kClockWrong:
      return Hold::kGeneration;
    default:
      return Hold::kNone;
  }
}

}  // namespace

struct TokenManager::Waiter {
  TokenRequest request;
  Done done;
  Scheduler::TaskId timer = 0;
};

struct TokenManager::Flight {
  TokenKey key;
  std::string token_endpoint;
  std::vector<RequestId> waiters;
  bool forgotten = false;  // the registration was suspended or deleted meanwhile
};

// Everything that callbacks under way need, so that they may end after the manager.
struct TokenManager::Shared : std::enable_shared_from_this<TokenManager::Shared> {
  struct Held {
    int failures = 0;
    BootTime until;
    absl::Status error;
  };

  Shared(RegistrationStore& store, TokenMinter& minter, Scheduler& scheduler, const Clock& clock)
      : store(store), minter(minter), scheduler(scheduler), clock(clock) {}

  RegistrationStore& store;
  TokenMinter& minter;
  Scheduler& scheduler;
  const Clock& clock;
  TokenCache cache;

  Mutex mu;
  bool stopped ABSL_GUARDED_BY(mu) = false;
  RequestId next_id ABSL_GUARDED_BY(mu) = 1;
  std::unordered_map<RequestId, Waiter> waiters ABSL_GUARDED_BY(mu);
  std::map<TokenKey, std::shared_ptr<Flight>> flights ABSL_GUARDED_BY(mu);
  std::map<TokenKey, Held> held ABSL_GUARDED_BY(mu);  // one request's failures
  std::map<std::pair<std::string, int>, Held> held_generations ABSL_GUARDED_BY(mu);
  std::map<std::string, Held> held_servers ABSL_GUARDED_BY(mu);  // by token endpoint
  std::map<std::string, ServerStatus> servers ABSL_GUARDED_BY(mu);
  MintBudget budget ABSL_GUARDED_BY(mu);
  uint64_t hits ABSL_GUARDED_BY(mu) = 0;
  uint64_t mints ABSL_GUARDED_BY(mu) = 0;
  uint64_t failures ABSL_GUARDED_BY(mu) = 0;

  // OK, or the last failure with the time that is left to wait.
  absl::Status HeldBack(const TokenKey& key, const std::string& token_endpoint, BootTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // The same, and a place in the registration's budget unless a flight can be joined.
  absl::Status MayMint(const TokenKey& key, const std::string& token_endpoint, BootTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  absl::Status ServerHeldBack(const std::string& token_endpoint, BootTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  Held& RecordFor(Hold hold, const TokenKey& key, const std::string& token_endpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // From here on nobody joins it.
  void Detach(const std::shared_ptr<Flight>& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Null if one is under way already.
  std::shared_ptr<Flight> StartFlight(const TokenKey& key, const std::string& token_endpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  void Fly(std::shared_ptr<Flight> flight, const Registration& registration,
           const Generation& generation, const ScopeSet& scopes, KeyService::CallerKey caller);
  void Landed(const std::shared_ptr<Flight>& flight, absl::StatusOr<AccessToken> answer);
  void Deliver(const std::shared_ptr<Flight>& flight, std::shared_ptr<const AccessToken> token,
               RegistrationStore::Snapshot registration);
  void Failed(const std::shared_ptr<Flight>& flight, absl::Status error);
  // A renewal replaced the generation meanwhile: those who wait get the new one's token.
  void MoveOn(const std::shared_ptr<Flight>& flight, RegistrationStore::Snapshot registration);
  // Ends the flight and answers its waiters. Both null and error: see Failed.
  void Answer(const std::shared_ptr<Flight>& flight, std::shared_ptr<const AccessToken> token,
              RegistrationStore::Snapshot registration, const absl::Status& error);
  // What those are told whose flight was under way when the registration was suspended or deleted.
  absl::Status WhyForgotten(const std::string& registration_id) const;
  absl::Status NoteFailure(const TokenKey& key, const std::string& token_endpoint,
                           const absl::Status& error, bool given_up);
  void NoteSuccess(const TokenKey& key, const std::string& token_endpoint);
  void WaiterTimedOut(RequestId id, absl::Status status);
};

TokenManager::TokenManager(RegistrationStore& store, TokenMinter& minter, Scheduler& scheduler,
                           const Clock& clock)
    : shared_(std::make_shared<Shared>(store, minter, scheduler, clock)) {}

TokenManager::~TokenManager() {
  std::unordered_map<RequestId, Waiter> left;
  {
    MutexLock lock(shared_->mu);
    shared_->stopped = true;
    left = std::move(shared_->waiters);
    shared_->waiters.clear();
  }
  for (auto& [id, waiter] : left) {
    shared_->scheduler.Cancel(waiter.timer);
    waiter.done(MakeError(Reason::kShuttingDown, "smartkeyd is shutting down"));
  }
}

absl::Status TokenManager::Shared::HeldBack(const TokenKey& key, const std::string& token_endpoint,
                                            BootTime now) {
  const Held* longest = nullptr;
  const auto consider = [&](const auto& map, const auto& entry) {
    const auto found = map.find(entry);
    if (found == map.end() || found->second.until <= now) return;
    if (longest == nullptr || found->second.until > longest->until) longest = &found->second;
  };
  consider(held, key);
  consider(held_generations, std::make_pair(key.registration_id, key.generation));
  consider(held_servers, token_endpoint);
  if (longest == nullptr) return absl::OkStatus();
  return WithRetryAfter(longest->error, longest->until - now);
}

absl::Status TokenManager::Shared::MayMint(const TokenKey& key, const std::string& token_endpoint,
                                           BootTime now) {
  if (absl::Status held_back = HeldBack(key, token_endpoint, now); !held_back.ok()) {
    return held_back;
  }
  if (flights.count(key) != 0) return absl::OkStatus();
  return budget.Take(key.registration_id, now);
}

absl::Status TokenManager::Shared::ServerHeldBack(const std::string& token_endpoint, BootTime now) {
  const auto found = held_servers.find(token_endpoint);
  if (found == held_servers.end() || found->second.until <= now) return absl::OkStatus();
  return WithRetryAfter(found->second.error, found->second.until - now);
}

TokenManager::Shared::Held& TokenManager::Shared::RecordFor(Hold hold, const TokenKey& key,
                                                            const std::string& token_endpoint) {
  if (hold == Hold::kServer) return held_servers[token_endpoint];
  if (hold == Hold::kGeneration) return held_generations[{key.registration_id, key.generation}];
  if (held.size() >= kMostHeldRequests) {
    // Apps choose the scopes: what has been forgotten only begins with a short wait again.
    std::erase_if(held,
                  [now = clock.Boot()](const auto& entry) { return entry.second.until <= now; });
  }
  return held[key];
}

void TokenManager::Shared::Detach(const std::shared_ptr<Flight>& flight) {
  const auto found = flights.find(flight->key);
  if (found != flights.end() && found->second == flight) flights.erase(found);
}

std::shared_ptr<TokenManager::Flight> TokenManager::Shared::StartFlight(
    const TokenKey& key, const std::string& token_endpoint) {
  std::shared_ptr<Flight>& flight = flights[key];
  if (flight != nullptr) return nullptr;
  flight = std::make_shared<Flight>();
  flight->key = key;
  flight->token_endpoint = token_endpoint;
  return flight;
}

TokenManager::RequestId TokenManager::GetAccessToken(TokenRequest request, BootTime deadline,
                                                     Done done) {
  Shared& s = *shared_;
  const RegistrationStore::Snapshot registration = s.store.Find(request.registration_id);
  if (registration == nullptr) {
    done(RegistrationNotFound());
    return 0;
  }
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  // A registration that needs its person is still tried once a day: the server may have changed its
  // mind.
  const bool given_up =
      ReasonOf(serving.status()) == Reason::kReauthRequired && registration->serving() != nullptr;
  if (!serving.ok() && !given_up) {
    done(serving.status());
    return 0;
  }
  const Generation& generation = given_up ? *registration->serving() : **serving;
  const TokenKey key{registration->id, generation.number, ToScopeString(request.scopes)};
  const BootTime now = s.clock.Boot();

  TokenResult result;
  result.registration = registration;
  result.generation = generation.number;
  result.token = s.cache.Find(key, now);

  bool usable = false;
  if (result.token != nullptr) {
    const AccessToken& token = *result.token;
    const absl::Duration left = token.expires - now;
    const bool fresh = left > ExpiryMargin(token.lifetime);
    // Asking for more than the server ever gives would fetch a new one at every call.
    const bool impossible = request.min_valid > token.lifetime && now < token.refresh_after;
    result.min_valid_met = left >= request.min_valid;
    usable = fresh && (result.min_valid_met || impossible);
  }

  std::shared_ptr<Flight> started;
  RequestId id = 0;
  absl::Status held_back;
  bool wait = false;
  {
    MutexLock lock(s.mu);
    if (s.stopped) {
      held_back = MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
    } else if (usable) {
      ++s.hits;
      if (now >= result.token->refresh_after && s.flights.count(key) == 0 &&
          s.MayMint(key, generation.token_endpoint, now).ok()) {
        started = s.StartFlight(key, generation.token_endpoint);
      }
    } else if (held_back = s.MayMint(key, generation.token_endpoint, now); held_back.ok()) {
      wait = true;
      started = s.StartFlight(key, generation.token_endpoint);
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
    result.source = TokenSource::kCache;
    done(std::move(result));
  } else if (result.token != nullptr && !given_up && ReasonOf(held_back) != Reason::kShuttingDown) {
    result.source = TokenSource::kStaleValid;
    result.refresh_error = held_back;
    done(std::move(result));
  } else if (given_up && ReasonOf(held_back) != Reason::kShuttingDown) {
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

void TokenManager::Shared::Fly(std::shared_ptr<Flight> flight, const Registration& registration,
                               const Generation& generation, const ScopeSet& scopes,
                               KeyService::CallerKey caller) {
  minter.Mint(registration, generation, scopes, caller,
              [self = shared_from_this(), flight](absl::StatusOr<AccessToken> answer) {
                self->Landed(flight, std::move(answer));
              });
}

void TokenManager::Shared::Landed(const std::shared_ptr<Flight>& flight,
                                  absl::StatusOr<AccessToken> answer) {
  if (!answer.ok()) return Failed(flight, answer.status());

  const BootTime now = clock.Boot();
  const absl::Time wall_now = clock.Now();
  SetRefreshTime(*answer, now, wall_now, Jitter());
  auto token = std::make_shared<const AccessToken>(*std::move(answer));

  const RegistrationStore::Snapshot registration = store.Find(flight->key.registration_id);
  const Generation* generation =
      registration == nullptr ? nullptr : registration->FindGeneration(flight->key.generation);
  if (registration == nullptr) return Failed(flight, RegistrationNotFound());
  if (generation == nullptr) return MoveOn(flight, registration);
  if (registration->suspension.has_value()) {
    return Failed(flight, ServingGeneration(*registration).status());
  }
  if (generation->state == GenerationState::kContextChanged ||
      generation->state == GenerationState::kDeleting) {
    return Failed(flight, CheckServes(*generation));  // became so while the answer was under way
  }
  if (!SameContext(*registration, *token)) {
    return Failed(flight, MakeError(Reason::kContextChanged,
                                    "the server named another patient or user than at enrollment"));
  }

  const bool pins = !registration->context_varies &&
                    ((registration->patient.empty() && !token->patient.empty()) ||
                     (registration->fhir_user.empty() && !token->fhir_user.empty()));
  const bool changes = pins || generation->state != GenerationState::kActive ||
                       wall_now - generation->last_token_at > kNoteTokensEvery;
  if (!changes) return Deliver(flight, token, registration);

  // A pinned patient is what protects every later answer: durable before the token is handed out.
  // That a registration works again, or when it last did, may be written while the token is used.
  if (!pins) Deliver(flight, token, registration);
  store.Update(
      flight->key.registration_id,
      [token, number = flight->key.generation, wall_now](Registration& changed) {
        return ApplyToken(changed, number, *token, wall_now);
      },
      [self = shared_from_this(), flight, token,
       pins](absl::StatusOr<RegistrationStore::Snapshot> updated) {
        if (!updated.ok()) {
          Log(LogLevel::kWarning, "the use of a registration could not be written down",
              {{"registration", flight->key.registration_id},
               {"error", updated.status().message()}});
          if (pins) self->Failed(flight, updated.status());
          return;
        }
        if (pins) self->Deliver(flight, token, *std::move(updated));
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
  if (before != nullptr && before->FindGeneration(flight->key.generation) == nullptr) {
    return MoveOn(flight, before);
  }
  const absl::Time wall_now = clock.Now();
  Registration after;
  if (before != nullptr) after = *before;
  const bool changes =
      before != nullptr && ApplyFailure(after, flight->key.generation, error, wall_now);
  const Generation* generation =
      before != nullptr ? after.FindGeneration(flight->key.generation) : nullptr;
  const bool given_up =
      generation != nullptr && generation->state == GenerationState::kReauthRequired;
  error = NoteFailure(flight->key, flight->token_endpoint, error, given_up);
  Log(LogLevel::kWarning, "no token",
      {{"registration", flight->key.registration_id},
       {"reason", ReasonName(ReasonOf(error))},
       {"error", error.message()}});

  if (!changes) return Answer(flight, nullptr, before, error);
  store.Update(
      flight->key.registration_id,
      [number = flight->key.generation, error, wall_now](Registration& changed) {
        ApplyFailure(changed, number, error, wall_now);
        return absl::OkStatus();
      },
      [self = shared_from_this(), flight, before,
       error](absl::StatusOr<RegistrationStore::Snapshot> updated) {
        absl::Status told = error;
        if (updated.ok()) {
          const Generation* generation = (*updated)->FindGeneration(flight->key.generation);
          if (generation != nullptr && generation->state == GenerationState::kReauthRequired) {
            told = MakeError(Reason::kReauthRequired, error.message());
            if (const auto wait = RetryAfterOf(error); wait.has_value()) {
              told = WithRetryAfter(std::move(told), *wait);
            }
          }
        }
        const Reason reason = ReasonOf(told);
        if (reason == Reason::kReauthRequired || reason == Reason::kContextChanged) {
          self->cache.EraseRegistration(flight->key.registration_id);
        }
        self->Answer(flight, nullptr, updated.ok() ? *updated : before, told);
      });
}

void TokenManager::Shared::MoveOn(const std::shared_ptr<Flight>& flight,
                                  RegistrationStore::Snapshot registration) {
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  if (!serving.ok()) return Answer(flight, nullptr, registration, serving.status());

  const Generation& next = **serving;
  const TokenKey key{registration->id, next.number, flight->key.scope};
  const BootTime now = clock.Boot();
  const std::shared_ptr<const AccessToken> cached = cache.Find(key, now);
  const bool fresh = cached != nullptr && cached->expires - now > ExpiryMargin(cached->lifetime);
  bool joined = false;
  bool over = false;
  {
    MutexLock lock(mu);
    Detach(flight);
    flight->key = key;
    flight->token_endpoint = next.token_endpoint;
    over = fresh || flight->forgotten;
    if (!over) {
      std::shared_ptr<Flight>& under_way = flights[key];
      joined = under_way != nullptr;
      if (joined) {
        under_way->waiters.insert(under_way->waiters.end(), flight->waiters.begin(),
                                  flight->waiters.end());
      } else {
        under_way = flight;
      }
    }
  }
  if (joined) return;
  if (over) return Answer(flight, cached, registration, absl::OkStatus());
  Fly(flight, *registration, next, ParseScope(key.scope), KeyService::kInternal);
}

void TokenManager::Shared::Answer(const std::shared_ptr<Flight>& flight,
                                  std::shared_ptr<const AccessToken> token,
                                  RegistrationStore::Snapshot registration,
                                  const absl::Status& error) {
  std::vector<Waiter> answered;
  bool forgotten = false;
  {
    MutexLock lock(mu);
    Detach(flight);
    forgotten = flight->forgotten;
    // Under the lock: Forget either sees the token in the cache or marks this flight before.
    if (token != nullptr && token->cacheable && !forgotten) cache.Put(flight->key, token);
    for (const RequestId id : flight->waiters) {
      const auto found = waiters.find(id);
      if (found == waiters.end()) continue;  // gave up before
      answered.push_back(std::move(found->second));
      waiters.erase(found);
    }
  }
  const BootTime now = clock.Boot();
  const std::shared_ptr<const AccessToken> kept =
      token == nullptr && !forgotten ? cache.Find(flight->key, now) : nullptr;
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
  held.erase(key);
  held_generations.erase({key.registration_id, key.generation});
  // An answer that was under way when the server asked to be left alone does not end that time.
  if (const auto found = held_servers.find(token_endpoint);
      found != held_servers.end() && found->second.until <= clock.Boot()) {
    held_servers.erase(found);
  }
  const bool still_held = held_servers.find(token_endpoint) != held_servers.end();
  ServerStatus& server = servers[token_endpoint];
  server.token_endpoint = token_endpoint;
  server.last_success = clock.Now();
  server.last_error = absl::OkStatus();
  if (!still_held) server.next_attempt = absl::InfinitePast();
}

absl::Status TokenManager::Shared::NoteFailure(const TokenKey& key,
                                               const std::string& token_endpoint,
                                               const absl::Status& error, bool given_up) {
  const Reason reason = ReasonOf(error);
  const Hold hold = HoldFor(reason);
  MutexLock lock(mu);
  ++failures;
  if (hold == Hold::kNone) return error;  // the hardware's, or one registration's own
  ServerStatus& server = servers[token_endpoint];
  server.token_endpoint = token_endpoint;
  server.last_error = error;

  const BootTime now = clock.Boot();
  Held& record = RecordFor(hold, key, token_endpoint);
  // Answers to requests that were under way together count once.
  if (record.until <= now) ++record.failures;
  absl::Duration wait = TransientBackoff(record.failures, Jitter());
  if (reason == Reason::kRefusedByServer) {
    wait = RefusalBackoff(record.failures, given_up, Jitter());
  } else if (reason == Reason::kServerBusy) {
    // Never earlier than the server asked for, also not for other callers.
    wait = std::max(wait, RetryAfterOf(error).value_or(kDefaultBusyWait));
  }
  wait = std::max(wait, record.until - now);
  record.until = now + wait;
  // What holds a server back is told to everybody's apps: none of its words about one registration.
  record.error = hold == Hold::kServer ? MakeError(reason, "the server has asked for time") : error;
  server.next_attempt = clock.Now() + wait;
  return WithRetryAfter(error, wait);
}

void TokenManager::FetchFirstToken(std::string registration_id, int number, Done done) {
  const RegistrationStore::Snapshot registration = shared_->store.Find(registration_id);
  const Generation* generation =
      registration == nullptr ? nullptr : registration->FindGeneration(number);
  if (generation == nullptr) return done(RegistrationNotFound());
  if (registration->suspension.has_value()) {
    return done(ServingGeneration(*registration).status());
  }

  const TokenKey key{registration_id, number, ""};
  absl::Status held_back;
  {
    MutexLock lock(shared_->mu);
    held_back = shared_->ServerHeldBack(generation->token_endpoint, shared_->clock.Boot());
  }
  if (!held_back.ok()) return done(held_back);
  shared_->minter.Mint(
      *registration, *generation, {}, KeyService::kInternal,
      [shared = shared_, key, endpoint = generation->token_endpoint,
       done = std::move(done)](absl::StatusOr<AccessToken> answer) mutable {
        if (!answer.ok()) {
          const bool busy = HoldFor(ReasonOf(answer.status())) == Hold::kServer;
          return done(busy ? shared->NoteFailure(key, endpoint, answer.status(), false)
                           : answer.status());
        }
        SetRefreshTime(*answer, shared->clock.Boot(), shared->clock.Now(), Jitter());
        auto token = std::make_shared<const AccessToken>(*std::move(answer));
        shared->store.Update(
            key.registration_id,
            [token, number = key.generation, now = shared->clock.Now()](Registration& changed) {
              return ApplyToken(changed, number, *token, now);
            },
            [shared, key, endpoint, token,
             done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
              if (!updated.ok()) return done(updated.status());
              for (int older = key.generation - 1; older > 0; --older) {
                shared->cache.EraseGeneration(key.registration_id, older);
              }
              // Suspended while the token was on its way: it counts as the first one, and is
              // dropped.
              const bool keep = token->cacheable && !(*updated)->suspension.has_value();
              if (keep) shared->cache.Put(key, token);
              shared->NoteSuccess(key, endpoint);
              TokenResult result;
              result.token = token;
              result.source = TokenSource::kFresh;
              result.registration = *std::move(updated);
              result.generation = key.generation;
              done(std::move(result));
            });
      });
}

TokenCache::Taken TokenManager::Forget(const std::string& registration_id) {
  TokenCache::Taken taken;
  std::vector<Waiter> waiting;
  {
    MutexLock lock(shared_->mu);
    taken = shared_->cache.TakeRegistration(registration_id);
    // Who asks from here on starts a new flight.
    std::erase_if(shared_->flights, [&](const auto& entry) {
      if (entry.first.registration_id != registration_id) return false;
      entry.second->forgotten = true;
      for (const RequestId id : entry.second->waiters) {
        const auto found = shared_->waiters.find(id);
        if (found == shared_->waiters.end()) continue;
        waiting.push_back(std::move(found->second));
        shared_->waiters.erase(found);
      }
      return true;
    });
    std::erase_if(shared_->held, [&](const auto& entry) {
      return entry.first.registration_id == registration_id;
    });
    std::erase_if(shared_->held_generations,
                  [&](const auto& entry) { return entry.first.first == registration_id; });
  }
  for (Waiter& waiter : waiting) {
    shared_->scheduler.Cancel(waiter.timer);
    waiter.done(shared_->WhyForgotten(registration_id));
  }
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
  for (const auto& [endpoint, server] : shared_->servers) status.servers.push_back(server);
  return status;
}

}  // namespace smartkey
