// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/attempt_gate.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "daemon/token/refresh_policy.h"

namespace smartkey {

namespace {

constexpr absl::Duration kDefaultBusyWait = absl::Seconds(5);
constexpr int kMostHeldRequests = 64;  // of a registration; apps choose the scopes

bool IsRefusal(Reason reason) {
  return reason == Reason::kRefusedByServer || reason == Reason::kServerRefusingAll ||
         reason == Reason::kReauthRequired;
}

}  // namespace

// Failures after which the same request would fail again for a while. The others cost nothing to
// try anew (a key provider refuses at once by itself), or are the caller's own (invalid_scope).
enum class AttemptGate::Hold {
  kNone,
  kRequest,     // these scopes of this registration
  kGeneration,  // the client as such was refused: other scopes would be too
  kOwn,         // the same, and the server is in order
  kServer,      // everybody's requests
};

AttemptGate::Hold AttemptGate::HoldFor(const absl::Status& error) {
  switch (ReasonOf(error)) {
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
    case Reason::kServerRefusingAll:
    case Reason::kReauthRequired:
    case Reason::kClockWrong:
      return Hold::kGeneration;
    case Reason::kKeyGone:
    case Reason::kKeyDamaged:
    case Reason::kKeyLostTpmCleared:
    case Reason::kKeyLostOtherMachine:
    case Reason::kMisconfigured:
    case Reason::kContextChanged:
      return Hold::kOwn;
    default:
      return Hold::kNone;
  }
}

bool AttemptGate::HoldsServer(const absl::Status& error) {
  return HoldFor(error) == Hold::kServer;
}

absl::Status AttemptGate::Check(const TokenKey& key, const std::string& token_endpoint,
                                BootTime now) const {
  const Held* longest = nullptr;
  const auto consider = [&](const auto& map, const auto& entry) {
    const auto found = map.find(entry);
    if (found == map.end() || found->second.until <= now) return;
    if (longest == nullptr || found->second.until > longest->until) longest = &found->second;
  };
  consider(requests_, key);
  consider(generations_, std::make_pair(key.registration_id, key.generation));
  consider(server_holds_, token_endpoint);
  if (longest == nullptr) return absl::OkStatus();
  return WithRetryAfter(longest->error, longest->until - now);
}

absl::Status AttemptGate::CheckServer(const std::string& token_endpoint, BootTime now) const {
  const auto found = server_holds_.find(token_endpoint);
  if (found == server_holds_.end() || found->second.until <= now) return absl::OkStatus();
  return WithRetryAfter(found->second.error, found->second.until - now);
}

AttemptGate::Held& AttemptGate::RecordFor(Hold hold, const TokenKey& key,
                                          const std::string& token_endpoint) {
  if (hold == Hold::kServer) return server_holds_[token_endpoint];
  if (hold == Hold::kGeneration || hold == Hold::kOwn)
    return generations_[{key.registration_id, key.generation}];
  if (requests_.count(key) == 0) {
    // What has been forgotten only begins with a short wait again.
    const auto first = requests_.lower_bound(TokenKey{key.registration_id, 0, ""});
    auto last = first;
    auto soonest = first;
    int held = 0;
    for (; last != requests_.end() && last->first.registration_id == key.registration_id; ++last) {
      ++held;
      if (last->second.until < soonest->second.until) soonest = last;
    }
    if (held >= kMostHeldRequests) requests_.erase(soonest);
  }
  return requests_[key];
}

void AttemptGate::NoteSuccess(const TokenKey& key, const std::string& token_endpoint, BootTime now,
                              absl::Time wall_now) {
  requests_.erase(key);
  generations_.erase({key.registration_id, key.generation});
  // An answer that was under way when the server asked to be left alone does not end that time.
  const auto found = server_holds_.find(token_endpoint);
  const bool still_held = found != server_holds_.end() && found->second.until > now;
  if (found != server_holds_.end() && !still_held) server_holds_.erase(found);
  ServerStatus& server = servers_[token_endpoint];
  server.token_endpoint = token_endpoint;
  server.last_success = wall_now;
  server.last_error = absl::OkStatus();
  if (!still_held) server.next_attempt = absl::InfinitePast();
}

absl::Status AttemptGate::NoteFailure(const TokenKey& key, const std::string& token_endpoint,
                                      const absl::Status& error, BootTime now,
                                      absl::Time wall_now) {
  const Hold hold = HoldFor(error);
  if (hold == Hold::kNone) return error;  // the hardware's, or one registration's own
  const Reason reason = ReasonOf(error);
  Held& record = RecordFor(hold, key, token_endpoint);
  // Answers to requests that were under way together count once.
  if (record.until <= now) ++record.failures;
  absl::Duration wait = TransientBackoff(record.failures, RandomFraction());
  if (IsRefusal(reason)) {
    wait = RetryAfterOf(error).value_or(wait);
  } else if (reason == Reason::kServerBusy) {
    // Never earlier than the server asked for, also not for other callers.
    wait = std::max(wait, RetryAfterOf(error).value_or(kDefaultBusyWait));
  }
  wait = std::max(wait, record.until - now);
  record.until = now + wait;
  // What holds a server back is told to everybody's apps: none of its words about one registration.
  record.error = hold == Hold::kServer ? MakeError(reason, "the server has asked for time") : error;
  if (hold == Hold::kOwn) return error;  // for a person to act upon, not to be waited for
  ServerStatus& server = servers_[token_endpoint];
  server.token_endpoint = token_endpoint;
  server.last_error = error;
  server.last_error_at = wall_now;
  server.next_attempt = wall_now + wait;
  return WithRetryAfter(error, wait);
}

void AttemptGate::Forget(const std::string& registration_id) {
  std::erase_if(requests_,
                [&](const auto& entry) { return entry.first.registration_id == registration_id; });
  std::erase_if(generations_,
                [&](const auto& entry) { return entry.first.first == registration_id; });
}

std::vector<ServerStatus> AttemptGate::servers() const {
  std::vector<ServerStatus> all;
  for (const auto& [endpoint, server] : servers_) all.push_back(server);
  return all;
}

}  // namespace smartkey
