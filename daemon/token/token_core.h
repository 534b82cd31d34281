// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/rate_budget.h"
#include "daemon/token/attempt_gate.h"
#include "daemon/token/request_slots.h"
#include "daemon/token/token_cache.h"
#include "daemon/token/token_manager.h"

namespace smartkey {

inline constexpr char kTooManyTokens[] = "too many new tokens were asked for in a short time";

// What was held back together, by a stopped daemon or a busy server, does not come all at once.
inline constexpr absl::Duration kRetrySpread = absl::Minutes(2);

struct TokenManager::Waiter {
  TokenRequest request;
  Done done;
  Scheduler::TaskId timer = 0;
};

struct TokenManager::Flight {
  KeyService::CallerKey caller = KeyService::kInternal;  // who asked first
  TokenKey key;
  std::string token_endpoint;
  // Whose token the waiters have asked for; empty: not pinned yet.
  Identifying patient;
  Identifying fhir_user;
  std::vector<RequestId> waiters;
  bool forgotten = false;  // the registration was suspended or deleted meanwhile
};

// How much a cached token is asked for. A period is the time from one token to the next.
struct TokenManager::Use {
  bool used = false;              // in this period
  int unused_periods = 0;         // before it, since the last one in which it was used
  Scheduler::TaskId refresh = 0;  // planned; 0: none
};

// Everything that callbacks under way need, so that they may end after the manager. Lock order:
// `mu` first; the cache's own lock and the scheduler's may be taken with it held, nothing else is
// called.
struct TokenManager::Shared : std::enable_shared_from_this<TokenManager::Shared> {
  Shared(const CurrentCatalog& catalog, RegistrationStore& store, TokenMinter& minter,
         Scheduler& scheduler, const Clock& clock)
      : catalog(catalog), store(store), minter(minter), scheduler(scheduler), clock(clock) {}

  const CurrentCatalog& catalog;
  RegistrationStore& store;
  TokenMinter& minter;
  Scheduler& scheduler;
  const Clock& clock;
  TokenCache cache;
  RequestSlots slots{16};

  Mutex mu;
  bool stopped ABSL_GUARDED_BY(mu) = false;
  RequestId next_id ABSL_GUARDED_BY(mu) = 1;
  std::unordered_map<RequestId, Waiter> waiters ABSL_GUARDED_BY(mu);
  std::map<TokenKey, std::shared_ptr<Flight>> flights ABSL_GUARDED_BY(mu);
  std::map<std::string, Scheduler::TaskId> retries ABSL_GUARDED_BY(mu);  // by registration
  std::map<TokenKey, Use> uses ABSL_GUARDED_BY(mu);  // of what is cached, and may be of what was
  std::map<std::string, std::map<ObserverId, std::function<void()>>> observers ABSL_GUARDED_BY(mu);
  AttemptGate gate ABSL_GUARDED_BY(mu);
  // An app that asks for ever new scope sets, or reports every token as rejected, would otherwise
  // sign and send as fast as the hardware can, and cost everybody the server's patience.
  // By caller and registration: who has a share uses up his own. Refreshes have one of theirs.
  RateBudget budget ABSL_GUARDED_BY(mu){30, absl::Seconds(2), kTooManyTokens};
  RateBudget reports ABSL_GUARDED_BY(mu){3, absl::Minutes(1),
                                         kTooManyTokens};  // by caller and registration
  uint64_t hits ABSL_GUARDED_BY(mu) = 0;
  uint64_t mints ABSL_GUARDED_BY(mu) = 0;
  uint64_t failures ABSL_GUARDED_BY(mu) = 0;

  // token_manager.cc: from a request to a cached token or a flight.

  // The token in the cache, if there is one, and whether it answers the request without a new one.
  TokenResult Look(const TokenRequest& request, RegistrationStore::Snapshot registration,
                   const TokenKey& key, BootTime now, bool& usable) const;
  // OK, or why a refused generation is not asked for now; from its record.
  // Whether an earlier refusal holds requests for it back; and what they are told then, for which
  // all registrations are looked at.
  bool IsHeldBack(const Registration& registration, const Generation& generation) const;
  absl::Status WhyHeldBack(const Registration& registration, const Generation& generation) const;
  // OK with a place in the caller's budget for the registration, unless a flight can be joined; or
  // what holds it back.
  absl::Status MayMint(KeyService::CallerKey caller, const TokenKey& key,
                       const std::string& token_endpoint, BootTime now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Null if one is under way already.
  std::shared_ptr<Flight> StartFlight(KeyService::CallerKey caller,
                                      const Registration& registration, const TokenKey& key,
                                      const std::string& token_endpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // From here on nobody joins it.
  void Detach(const std::shared_ptr<Flight>& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void WaiterTimedOut(RequestId id, absl::Status status);

  // Tells those who observe it. Without the lock.
  void NoteChange(const std::string& registration_id) ABSL_LOCKS_EXCLUDED(mu);

  // first_token.cc: may it be asked for now, and what comes of it.

  absl::StatusOr<RegistrationStore::Snapshot> CheckFirst(const TokenKey& key,
                                                         const std::string& endpoint);
  void TakeFirst(const TokenKey& key, const std::string& endpoint, AccessToken answer, Done done);

  // token_flight.cc: from a flight to its waiters' answers.

  void Fly(std::shared_ptr<Flight> flight, const Registration& registration,
           const Generation& generation, const ScopeSet& scopes, KeyService::CallerKey caller);
  // False, and its end has been told, if what has happened while it waited for its turn says so.
  bool MayStillFly(const std::shared_ptr<Flight>& flight);
  void Landed(const std::shared_ptr<Flight>& flight, absl::StatusOr<AccessToken> answer);
  void WriteDown(const std::shared_ptr<Flight>& flight, std::shared_ptr<const AccessToken> token,
                 bool pins);
  void Deliver(const std::shared_ptr<Flight>& flight, std::shared_ptr<const AccessToken> token,
               RegistrationStore::Snapshot registration);
  void Failed(const std::shared_ptr<Flight>& flight, absl::Status error);
  // The token names another patient: nobody gets it, nor any other of this registration.
  void ContextChanged(const std::shared_ptr<Flight>& flight,
                      std::shared_ptr<const AccessToken> token);
  // What those who wait are told of a failure, and what it holds back; `after` is the record with
  // it.
  absl::Status Tell(const std::shared_ptr<Flight>& flight, const Registration* after,
                    const absl::Status& error);
  // A renewal replaced the generation meanwhile: those who wait get the new one's token.
  void MoveOn(const std::shared_ptr<Flight>& flight, RegistrationStore::Snapshot registration);
  // Ends the flight and answers its waiters, without a token with one that is still good, or
  // `error`.
  void Answer(const std::shared_ptr<Flight>& flight, std::shared_ptr<const AccessToken> token,
              RegistrationStore::Snapshot registration, const absl::Status& error);
  // What those are told whose flight was under way when the registration was suspended or deleted.
  absl::Status WhyForgotten(const std::string& registration_id) const;
  void NoteSuccess(const TokenKey& key, const std::string& token_endpoint);
  absl::Status NoteFailure(const TokenKey& key, const std::string& token_endpoint,
                           const absl::Status& error);

  // kept_tokens.cc: tokens over a restart.

  // What has expired is wiped from time to time.
  void PlanWipe();

  // token_refresh.cc: tokens in use are replaced in time, whether anybody asks just then or not.

  // The key's token has come into the cache: a new period. `asked`: somebody waited for it.
  void BeginPeriod(const TokenKey& key, const AccessToken& token, bool asked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // It was answered from the cache.
  void NoteUse(const TokenKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Replacing it has failed: tried again when `error` says so, if the token lasts until then.
  void PlanNextRefresh(const TokenKey& key, const absl::Status& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void PlanRefresh(const TokenKey& key, Use& use, absl::Duration wait)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void ForgetUses(const std::string& registration_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // The timer's: `due` is when it was meant to come.
  void Refresh(const TokenKey& key, BootTime due);

  // token_retries.cc: refused registrations are tried again by themselves.

  // Replaces what was planned for it.
  void PlanRetry(const std::string& registration_id, absl::Duration wait);
  // If `record` says that the generation is tried again by itself: for a change that could not be
  // written down.
  void PlanRetryOf(const Registration& record, int number);
  void Retry(const std::string& registration_id);
};

}  // namespace smartkey
