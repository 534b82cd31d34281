// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "daemon/model/access_token.h"
#include "daemon/model/catalog.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/attempt_gate.h"
#include "daemon/token/token_minter.h"
#include "hsm/key_service.h"

namespace smartkey {

class TokenRegion;

enum class TokenSource {
  kCache,
  kFresh,
  kStaleValid,  // a refresh failed, this one is still good
};

struct TokenRequest {
  std::string registration_id;
  ScopeSet scopes;  // empty: everything the person authorized
  absl::Duration min_valid = absl::ZeroDuration();
  KeyService::CallerKey caller = KeyService::kInternal;  // for fairness at the hardware
};

struct TokenResult {
  std::shared_ptr<const AccessToken> token;
  TokenSource source = TokenSource::kCache;
  RegistrationStore::Snapshot registration;
  int generation = 0;
  bool min_valid_met = true;   // false: the server's tokens do not live that long
  absl::Status refresh_error;  // why, with kStaleValid
};

struct TokenManagerStatus {
  int cached_tokens = 0;
  int flights = 0;
  uint64_t hits = 0;
  uint64_t mints = 0;
  uint64_t failures = 0;
  std::vector<ServerStatus> servers;
};

// Hands out access tokens: from the cache when they last, else with one signature and one request
// for all who wait. A flight belongs to nobody: it goes on when its first caller has given up, and
// each waiter keeps his own deadline. What the server's answers mean for the registration is in
// token_outcome.h and refusals.h. A token that has been asked for again since it came is replaced
// between half and two thirds of its life without waiting for a request, and then until three such
// periods have passed in which nobody asked. A registration that was refused is tried again by
// itself, slowly, whether anybody asks or not.
//
// The caller has been authorized before (AccessPolicy): every request, cached or not. Thread-safe.
// A hit is answered inside the call, without hardware, HTTP, disk or any lock that those hold.
//
// Errors: kRegistrationNotFound, kServerRemoved, kSuspended, kNotReady, kReauthRequired,
// kMisconfigured, kContextChanged, kOrphaned, kDeleting, kServerRefusingAll, the reasons for which
// a key cannot be used, kDeadlineExceeded, kCancelled, and those of TokenEndpoint and KeyService.
// RetryAfterOf says when the next attempt will be.
class TokenManager {
 public:
  using RequestId = uint64_t;  // 0: answered inside the call
  using Done = absl::AnyInvocable<void(absl::StatusOr<TokenResult>)>;

  TokenManager(const CurrentCatalog& catalog, RegistrationStore& store, TokenMinter& minter,
               Scheduler& scheduler, const Clock& clock);
  ~TokenManager();

  // Takes up the trying of registrations that were refused before the last stop, each when its time
  // comes.
  void Recover();

  // Cached tokens are in `region` too from here on, and so outlive this process. Those that an
  // earlier one left there are taken back, as old as they are, if the registration is served from
  // the same generation and key, is not suspended, and is pinned to whom they name; else wiped.
  // To be called once, when the store can be read.
  void KeepTokensIn(std::unique_ptr<TokenRegion> region);

  // `done` runs exactly once, on any thread, and must not block.
  RequestId GetAccessToken(TokenRequest request, BootTime deadline, Done done);

  // The waiter gets kCancelled now, unless it was answered already; the flight goes on.
  void Cancel(RequestId id);

  // The FHIR server refused `token` (401). If it is the one that is cached it is dropped, and one
  // new one is fetched; if it has been replaced already, nothing is done. A caller whose reports
  // come too often (3 at once, then one a minute for each of his registrations) gets kRateLimited,
  // and the token stays: one app's word does not make a storm of requests.
  struct Rejection {
    bool dropped = false;
    bool refreshing = false;  // false: what holds the next request back is told by GetAccessToken
  };
  absl::StatusOr<Rejection> ReportRejected(const std::string& registration_id,
                                           KeyService::CallerKey caller, const Secret& token);

  // The first token of a generation that has just been registered: pins the patient, makes the
  // generation ACTIVE, durably, before `done`. Refusals count for nothing. Not joined with other
  // flights. One that names another patient than the pinned one makes the generation
  // CONTEXT_CHANGED, durably: kContextChanged.
  void FetchFirstToken(std::string registration_id, int generation, Done done);

  // `changed` runs, on any thread, when a token of this registration has come into the cache or
  // gone from it: GetAccessToken may have another answer now. Not when a request failed: who asked
  // for it was told. It must not block, nor call the manager; once more after Unobserve, if it was
  // about to.
  using ObserverId = uint64_t;  // never 0
  ObserverId Observe(const std::string& registration_id, std::function<void()> changed);
  void Unobserve(const std::string& registration_id, ObserverId id);

  // Drops every cached token of a registration, and the answers of flights under way for it: who
  // waits for one is told at once why the registration gives none any more. To be called once the
  // change is in the store. Returns what was in the cache, for revocation; dropped, it is wiped.
  TokenCache::Taken Forget(const std::string& registration_id);

  TokenManagerStatus status() const;

 private:
  struct Waiter;
  struct Flight;
  struct Use;
  struct Shared;

  // Outlives the manager in callbacks under way.
  std::shared_ptr<Shared> shared_;
};

}  // namespace smartkey
