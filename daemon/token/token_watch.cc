// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_watch.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "daemon/token/refresh_policy.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLeastWait = absl::Seconds(1);
// Nobody said when another try makes sense: a person has to do something first, which is told.
constexpr absl::Duration kLookAgain = absl::Hours(1);
// A renewal is under way, or should be; its success is told.
constexpr absl::Duration kLookAtRenewal = absl::Seconds(30);

absl::Status AccessEnded(absl::string_view why) {
  return MakeError(Reason::kAccessEnded, why);
}

absl::Duration WaitAfterError(const absl::Status& error) {
  return RetryAfterOf(error).value_or(kLookAgain);
}

// How long what was answered stays the answer, as far as that is known.
absl::Duration WaitAfter(const TokenState& state, absl::Duration min_valid, BootTime now) {
  if (!state.token.has_value()) return std::max(kLeastWait, WaitAfterError(state.error));
  const AccessToken& token = *state.token->token;
  if (!token.cacheable) return kLookAtRenewal;  // each one is fetched anew
  absl::Duration wait = token.expires - now;
  if (!state.error.ok()) {
    wait = std::min(wait, WaitAfterError(state.error));
  } else if (token.refresh_after <= now) {
    wait = std::min(wait, kLookAtRenewal);
  } else {
    wait = std::min(wait, token.refresh_after - now);
  }
  // Where it stops being good enough, though it is not over.
  for (const absl::Duration left : {ExpiryMargin(token.lifetime), min_valid}) {
    const absl::Duration until = token.expires - left - now;
    if (left < token.lifetime && until > absl::ZeroDuration()) wait = std::min(wait, until);
  }
  return std::max(kLeastWait, wait);
}

}  // namespace

TokenWatch::TokenWatch(const Parts& parts, const Caller& caller, TokenRequest request,
                       std::function<void()> wake)
    : parts_(parts), caller_(caller), request_(std::move(request)), wake_(std::move(wake)) {}

absl::StatusOr<std::shared_ptr<TokenWatch>> TokenWatch::Start(const Parts& parts,
                                                              const Caller& caller,
                                                              TokenRequest request,
                                                              std::function<void()> wake) {
  const std::string id = request.registration_id;
  std::shared_ptr<TokenWatch> watch(
      new TokenWatch(parts, caller, std::move(request), std::move(wake)));
  const std::weak_ptr<TokenWatch> weak = watch;
  const absl::StatusOr<RegistrationFeed::WatchId> registration = parts.feed.Watch(
      caller, [id](const Registration& one) { return one.id == id; },
      [weak] {
        if (const auto self = weak.lock()) self->wake_();
      });
  if (!registration.ok()) return registration.status();
  watch->registration_watch_ = *registration;
  watch->token_observer_ = parts.tokens.Observe(id, [weak] {
    if (const auto self = weak.lock()) self->NoteChange();
  });
  return watch;
}

void TokenWatch::Stop() {
  TokenManager::RequestId request = 0;
  Scheduler::TaskId timer = 0;
  {
    MutexLock lock(mu_);
    if (std::exchange(stopped_, true)) return;
    request = std::exchange(request_id_, 0);
    timer = std::exchange(timer_, 0);
    latest_.reset();
  }
  parts_.feed.Unwatch(registration_watch_);
  parts_.tokens.Unobserve(request_.registration_id, token_observer_);
  if (request != 0) parts_.tokens.Cancel(request);
  if (timer != 0) parts_.scheduler.Cancel(timer);
}

void TokenWatch::NoteChange() {
  // Not here: a thousand may be told one after the other, on a thread that has other things to do.
  MutexLock lock(mu_);
  if (begun_) AskLater(absl::ZeroDuration());
}

void TokenWatch::AskLater(absl::Duration wait) {
  if (stopped_) return;
  if (timer_ != 0) parts_.scheduler.Cancel(timer_);
  timer_ = parts_.scheduler.RunAfter(wait, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock lock(self->mu_);
      self->ask_ = true;
    }
    self->wake_();
  });
}

absl::StatusOr<absl::optional<TokenState>> TokenWatch::Next() {
  for (;;) {
    if (absl::Status status = LookAtRegistration(); !status.ok()) {
      Stop();
      return status;
    }
    bool ask = false;
    absl::optional<TokenState> state;
    {
      MutexLock lock(mu_);
      if (stopped_) return MakeError(Reason::kCancelled, "the watch was stopped");
      begun_ = true;
      ask = ask_ && !asking_;
      if (ask) {
        ask_ = false;
        asking_ = true;
        latest_.reset();  // overtaken
      } else {
        state = std::exchange(latest_, absl::nullopt);
      }
    }
    if (ask) {
      Ask();
      continue;
    }
    if (!state.has_value()) return absl::optional<TokenState>();
    // The answer may have been under way while the right ended.
    if (absl::Status status = LookAtRight(*state); !status.ok()) {
      Stop();
      return status;
    }
    if (IsNews(*state)) return state;
  }
}

absl::Status TokenWatch::LookAtRegistration() {
  for (;;) {
    absl::StatusOr<absl::optional<RegistrationEvent>> event = parts_.feed.Next(registration_watch_);
    if (!event.ok()) return event.status();
    if (!event->has_value()) return LookAtRight();
    if ((*event)->kind == RegistrationEvent::Kind::kSynced) continue;
    MutexLock lock(mu_);
    ask_ = true;
  }
}

// Whether it can be written down is asked where there is something to write: for a token.
absl::Status TokenWatch::LookAtRight() const {
  const absl::StatusOr<RegistrationStore::Snapshot> registration =
      parts_.access.FindToRead(caller_, request_.registration_id, Operation::kToken);
  if (registration.ok()) {
    if (!(*registration)->suspension.has_value()) return absl::OkStatus();
    return AccessEnded("the registration is suspended");
  }
  if (ReasonOf(registration.status()) == Reason::kShareLacksOperation ||
      ReasonOf(registration.status()) == Reason::kNotPermitted) {
    return AccessEnded(
        "the share does not allow tokens any more, or there is none for this program");
  }
  if (ReasonOf(registration.status()) != Reason::kRegistrationNotFound) {
    return registration.status();
  }
  return AccessEnded("the registration was deleted, or is not shared with this user any more");
}

absl::Status TokenWatch::LookAtRight(TokenState& state) {
  if (absl::Status status = LookAtRight(); !status.ok()) return status;
  if (!state.token.has_value()) return absl::OkStatus();
  const absl::Status status = parts_.access.CheckDelivery(caller_, request_.registration_id,
                                                          request_.scopes, *state.token->token);
  if (ReasonOf(status) == Reason::kShareLacksScope) return AccessEnded(status.message());
  if (!status.ok()) {
    state.token.reset();
    state.error = status;
    MutexLock lock(mu_);
    // The token is at hand: to ask again costs the server nothing.
    AskLater(std::max(kLeastWait, RetryAfterOf(status).value_or(kLookAtRenewal)));
  }
  return absl::OkStatus();
}

void TokenWatch::Ask() {
  const TokenManager::RequestId id = parts_.tokens.GetAccessToken(
      request_, BootTime::InfiniteFuture(), [weak = weak_from_this()](auto answer) {
        if (const auto self = weak.lock()) self->Answered(std::move(answer));
      });
  bool over = false;
  {
    MutexLock lock(mu_);
    over = stopped_;
    if (asking_ && !over) request_id_ = id;
  }
  if (over && id != 0) parts_.tokens.Cancel(id);
}

void TokenWatch::Answered(absl::StatusOr<TokenResult> answer) {
  TokenState state;
  if (answer.ok()) {
    state.error = answer->refresh_error;
    state.token = *std::move(answer);
  } else {
    state.error = answer.status();
  }
  {
    MutexLock lock(mu_);
    asking_ = false;
    request_id_ = 0;
    if (stopped_) return;
    AskLater(WaitAfter(state, request_.min_valid, parts_.clock.Boot()));
    latest_ = std::move(state);
  }
  parts_.scheduler.RunAfter(absl::ZeroDuration(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake_();
  });
}

bool TokenWatch::IsNews(const TokenState& state) {
  const bool has_token = state.token.has_value();
  const std::shared_ptr<const AccessToken> token = has_token ? state.token->token : nullptr;
  const bool same_token = has_token == told_has_token_ && token == told_token_.lock();
  // That a renewal is tried again is none; that it failed for another reason is.
  const bool same_error =
      ReasonOf(state.error) == ReasonOf(told_error_) || (has_token && state.error.ok());
  if (told_ && same_token && same_error) return false;
  told_ = true;
  told_has_token_ = has_token;
  told_token_ = token;
  told_error_ = state.error;
  return true;
}

}  // namespace smartkey
