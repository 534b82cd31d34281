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
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "base/secret.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/share_rules.h"
#include "daemon/model/caller.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What somebody asks an owner for: a registration by name or id, or else the one that fits app and
// FHIR base.
struct AccessWish {
  std::string owner;         // user name
  std::string registration;  // name or id; empty: by the next two
  std::string app;
  std::string fhir_base;
  OperationSet operations;
  ScopeSet scopes;     // empty: all
  Identifying reason;  // for the owner to read: see CleanReason
};

// What people write for others to read: control characters, and those that turn the direction of
// text, become spaces, what is no UTF-8 a question mark. Errors: kInvalidArgument beyond 80
// characters.
absl::StatusOr<std::string> CleanReason(absl::string_view text);

// A request as the owner sees it.
struct AccessRequest {
  std::string id;
  Caller from;                  // as he was when he asked
  std::string principal;        // as a share for him would be written
  std::string registration_id;  // what it means now
  OperationSet operations;
  ScopeSet scopes;
  Identifying reason;
  absl::Time created_at;
  absl::Time expires_at;
};

// How a request stands for who made it. Numbers are those of the proto.
struct AccessAnswer {
  enum class State { kPending = 1, kApproved = 2, kDenied = 3, kLapsed = 4 };
  std::string request_id;
  State state = State::kPending;
  std::string registration_id;  // with kApproved
};

// Users who ask owners for a share. To ask needs no right, so it tells nothing either: whoever asks
// is told kPending first, and for what does not exist that is all that he is ever told until it
// lapses. Nobody is woken by it: owners look, or have something look for them.
//
// A request is open until it is decided, for at most 7 days, and lives in memory alone. Asked for
// again by the same user, in the same words, it is the same one: which registration they mean is
// looked up when the owner looks or decides, and never tells the user anything. A uid has at most 8
// open ones, and there are at most 4096.
//
// After a denial the owner is not shown another one of that user for that registration for a day,
// or for good: denials are part of the registration. The user is told kDenied of the request that
// was decided, and again at once for the same words while this runs; others stay kPending, or he
// would learn which of his guesses mean the same registration.
//
// Thread-safe.
class AccessRequests {
 public:
  using WatchId = uint64_t;  // never 0

  static constexpr absl::Duration kLifetime = absl::Hours(24 * 7);
  static constexpr absl::Duration kSilence = absl::Hours(24);
  static constexpr int kMaxPerUid = 8;
  static constexpr int kMaxOpen = 4096;
  static constexpr int kMaxWatchesPerUid = 64;

  // All of it outlives this and its tasks. `scheduler` wakes those who wait.
  AccessRequests(RegistrationStore& store, const AccessPolicy& access, Scheduler& scheduler,
                 const Clock& clock);
  ~AccessRequests();

  // Makes a request, or finds the same one, and watches it. `wake` runs on the scheduler's thread
  // when Next has something again after it had nothing, and must not block. Errors: kNotPermitted
  // on the admin socket; those of CheckCaller, except that a uid without a login may ask;
  // kRateLimited.
  absl::StatusOr<WatchId> Ask(const Caller& caller, AccessWish wish, std::function<void()> wake);

  // First kPending, then how it ended. nullopt: nothing now. Errors: kShuttingDown after Stop,
  // kCancelled after Leave and after the end was told.
  absl::StatusOr<absl::optional<AccessAnswer>> Next(WatchId watch);

  // The request stays open.
  void Leave(WatchId watch);

  // The open ones for registrations that the caller manages, the oldest first.
  std::vector<AccessRequest> List(const Caller& caller) const;

  // The share that came of a request.
  struct Approval {
    std::string registration_id;
    Share share;
  };

  // Adds what `terms` allow (operations, scopes, end and maker; empty operations and scopes: what
  // was asked for) to what the user has, and ends the request. `done` gets the share that he has
  // now, on the store's thread or inside the call. Errors: kAccessRequestNotFound, those of
  // CheckShare, CheckShareBy and PutShare, those of the store.
  void Approve(const Caller& caller, const std::string& request_id, Share terms,
               absl::AnyInvocable<void(absl::StatusOr<Approval>)> done);

  // Ends it; `done` gets it. Errors: kAccessRequestNotFound, those of the store.
  void Deny(const Caller& caller, const std::string& request_id, bool always,
            absl::AnyInvocable<void(absl::StatusOr<AccessRequest>)> done);

  // Whoever waits is told kShuttingDown; nothing new is taken.
  void Stop();

 private:
  class Core;
  const std::shared_ptr<Core> core_;  // outlives this in tasks under way
};

}  // namespace smartkey
