// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/model/access_token.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/token_cache.h"
#include "daemon/token/token_minter.h"
#include "hsm/key_service.h"

namespace smartkey {

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
  bool min_valid_met = true;      // false: the server's tokens do not live that long
  absl::Status refresh_error;     // why, with kStaleValid
};

struct ServerStatus {
  std::string token_endpoint;
  absl::Time last_success = absl::InfinitePast();
  absl::Status last_error;                             // OK: none since the last success
  absl::Time next_attempt = absl::InfinitePast();      // InfinitePast: nothing holds the next one back
};

struct TokenManagerStatus {
  int cached_tokens = 0;
  int flights = 0;
  uint64_t hits = 0;
  uint64_t mints = 0;
  uint64_t failures = 0;
  std::vector<ServerStatus> servers;
};

// Hands out access tokens: from the cache when they last, else with one signature and one request for
// all who wait. A flight belongs to nobody: it goes on when its first caller has given up, and each waiter
// keeps his own deadline. What the server's answers mean for the registration is in token_outcome.h.
//
// The caller has been authorized before (AccessPolicy): every request, cached or not. Thread-safe. A hit is
// answered inside the call, without hardware, HTTP, disk or any lock that those hold.
//
// Errors: kRegistrationNotFound, kSuspended, kNotReady, kReauthRequired, kMisconfigured, kContextChanged,
// kOrphaned, kDeleting, the reasons for which a key cannot be used, kDeadlineExceeded, kCancelled,
// and those of TokenEndpoint and KeyService. RetryAfterOf says when the next attempt will be.
class TokenManager {
 public:
  using RequestId = uint64_t;  // 0: answered inside the call
  using Done = absl::AnyInvocable<void(absl::StatusOr<TokenResult>)>;

  TokenManager(RegistrationStore& store, TokenMinter& minter, Scheduler& scheduler,
               const Clock& clock);
  ~TokenManager();

  // `done` runs exactly once, on any thread, and must not block.
  RequestId GetAccessToken(TokenRequest request, BootTime deadline, Done done);

  // The waiter gets kCancelled now, unless it was answered already; the flight goes on.
  void Cancel(RequestId id);

  // The first token of a generation that has just been registered: pins the patient, makes the generation
  // ACTIVE, durably, before `done`. Refusals count for nothing. Not joined with other flights.
  void FetchFirstToken(std::string registration_id, int generation, Done done);

  // Drops every cached token of a registration, and the answers of flights under way for it: who waits for one is
  // told at once why the registration gives none any more. To be called once the change is in the store. Returns what
  // was in the cache, for revocation; dropped, it is wiped.
  TokenCache::Taken Forget(const std::string& registration_id);

  TokenManagerStatus status() const;

 private:
  struct Waiter;
  struct Flight;
  struct Shared;

  // Outlives the manager in callbacks under way.
  std::shared_ptr<Shared> shared_;
};

}  // namespace smartkey
