// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/registration_feed.h"
#include "daemon/model/caller.h"
#include "daemon/token/token_manager.h"

namespace smartkey {

// How things stand for who watches a token: the one to use, why there is none, or both: the one to
// use and why it could not be replaced yet.
struct TokenState {
  absl::optional<TokenResult> token;
  absl::Status error;
};

// One caller's wish to have always the current token of a registration. A watch is used by its
// watcher alone, who takes one state after the other when he is ready for the next; what was
// overtaken meanwhile he does not see.
//
// A new token is asked for when the present one has reached its time of renewal, or the caller's
// min_valid; after a failure when TokenManager says that another try makes sense. So a watch costs
// the server what one app costs that asks now and then, however many watch: their requests are one
// flight.
//
// May the caller have it? Is asked anew for each state. Once the answer is no, or the registration
// is suspended, the watch ends.
//
// Next is called by one thread at a time; all else is thread-safe.
class TokenWatch : public std::enable_shared_from_this<TokenWatch> {
 public:
  // All of it outlives the watch. `scheduler` runs `wake`: on a thread of its own where a thousand
  // watches may be woken together.
  struct Parts {
    const AccessPolicy& access;
    RegistrationFeed& feed;
    TokenManager& tokens;
    Scheduler& scheduler;
    const Clock& clock;
  };

  // `wake` runs on the scheduler's thread when Next, which was called before, may have something
  // again; it must not block. It may run during Next and after Stop. Errors: those of
  // RegistrationFeed::Watch.
  static absl::StatusOr<std::shared_ptr<TokenWatch>> Start(const Parts& parts, const Caller& caller,
                                                           TokenRequest request,
                                                           std::function<void()> wake);
  ~TokenWatch() { Stop(); }

  // The next state that is not the one told last; the first as soon as it is known. nullopt:
  // nothing now. Errors, each of which ends the watch: kAccessEnded (the right has ended, or the
  // registration is suspended or deleted), kShuttingDown, kCancelled after Stop, those of the
  // store's availability().
  absl::StatusOr<absl::optional<TokenState>> Next();

  void Stop();

 private:
  TokenWatch(const Parts& parts, const Caller& caller, TokenRequest request,
             std::function<void()> wake);

  // OK while the watch may go on. Takes what has happened to the registration.
  absl::Status LookAtRegistration();
  absl::Status LookAtRight() const;
  // The same for a token at hand, in the place of which may be why he does not get it.
  absl::Status LookAtRight(TokenState& state);
  void Ask();
  void Answered(absl::StatusOr<TokenResult> answer);
  void AskLater(absl::Duration wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Called by others, on their threads: has Next look again.
  void NoteChange();
  // True, and noted as told, if it is something new.
  bool IsNews(const TokenState& state);

  const Parts parts_;
  const Caller caller_;
  const TokenRequest request_;
  const std::function<void()> wake_;
  RegistrationFeed::WatchId registration_watch_ = 0;  // set by Start, as the next
  TokenManager::ObserverId token_observer_ = 0;

  Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool begun_ ABSL_GUARDED_BY(mu_) = false;  // Next was called; nobody is woken before
  bool ask_ ABSL_GUARDED_BY(mu_) = true;
  bool asking_ ABSL_GUARDED_BY(mu_) = false;
  TokenManager::RequestId request_id_ ABSL_GUARDED_BY(mu_) = 0;
  Scheduler::TaskId timer_ ABSL_GUARDED_BY(mu_) = 0;
  absl::optional<TokenState> latest_ ABSL_GUARDED_BY(mu_);

  // What was told last; touched by Next alone. Weak: a token is wiped when others let go of it.
  std::weak_ptr<const AccessToken> told_token_;
  absl::Status told_error_;
  bool told_has_token_ = false;
  bool told_ = false;
};

}  // namespace smartkey
