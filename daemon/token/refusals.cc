// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/refusals.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/token/refresh_policy.h"

namespace smartkey {
namespace {

using Snapshots = std::vector<RegistrationStore::Snapshot>;

// How far a clock may step back, as time synchronisation does now and then, without being doubted.
constexpr absl::Duration kSmallStep = absl::Minutes(1);

// In [0, 1), the same for the same refusal whenever it is asked for: FNV-1a of what names it.
double JitterOf(const Registration& registration, const Generation& generation) {
  uint32_t hash = 2166136261u;
  const std::string named =
      absl::StrCat(registration.id, ":", generation.number, ":", generation.refusals);
  for (const unsigned char byte : named) hash = (hash ^ byte) * 16777619u;
  return (hash >> 8) / 16777216.0;
}

// The generation whose refusals count: the one that serves.
const Generation* RefusedGeneration(const Registration& registration,
                                    const std::string& token_endpoint) {
  const Generation* serving = registration.serving();
  const bool refused = serving != nullptr && serving->token_endpoint == token_endpoint &&
                       serving->state == GenerationState::kSuspect && serving->refusals > 0;
  return refused ? serving : nullptr;
}

// How many were refused within the hour of `now` or `earlier`, and since the last token that
// anybody had there.
int CountRefused(const Snapshots& all, const std::string& token_endpoint, absl::string_view besides,
                 absl::Time now, absl::Time earlier = absl::InfinitePast()) {
  absl::Time last_token = absl::InfinitePast();
  for (const RegistrationStore::Snapshot& one : all) {
    const Generation* serving = one->serving();
    if (serving == nullptr || serving->token_endpoint != token_endpoint) continue;
    last_token = std::max(last_token, serving->last_token_at);
  }
  int refused = 0;
  for (const RegistrationStore::Snapshot& one : all) {
    const Generation* generation = RefusedGeneration(*one, token_endpoint);
    if (generation == nullptr || one->id == besides) continue;
    const absl::Time at = generation->last_refusal_at;
    const bool same_hour = now - at <= kSameHour || (earlier != absl::InfinitePast() &&
                                                     absl::AbsDuration(earlier - at) <= kSameHour);
    if (at > last_token && at <= now && same_hour) ++refused;
  }
  return refused;
}

bool SameOwnerAppAndServer(const Registration& a, const Registration& b) {
  return a.owner_uid == b.owner_uid && a.owner_name == b.owner_name && a.app_id == b.app_id &&
         a.fhir_base == b.fhir_base;
}

}  // namespace

bool IsRefused(const Generation& generation) {
  return generation.state == GenerationState::kSuspect ||
         generation.state == GenerationState::kReauthRequired;
}

bool IsTriedAgain(const Generation& generation) {
  return IsRefused(generation) || generation.state == GenerationState::kKeyLost;
}

absl::Time NextAttempt(const Registration& registration, const Generation& generation,
                       absl::Time now) {
  if (!IsRefused(generation) || generation.refusals == 0 ||
      generation.last_refusal_at > now + kSmallStep) {
    return absl::InfinitePast();
  }
  const absl::Time next =
      generation.last_refusal_at +
      RefusalBackoff(generation.refusals, generation.state == GenerationState::kReauthRequired,
                     JitterOf(registration, generation));
  return next > now ? next : absl::InfinitePast();
}

bool OthersAreRefused(const Snapshots& all, const Registration& registration,
                      const Generation& generation, absl::Time now) {
  return CountRefused(all, generation.token_endpoint, registration.id, now,
                      generation.last_refusal_at) > 0;
}

bool ServerRefusesAll(const Snapshots& all, const std::string& token_endpoint, absl::Time now) {
  return CountRefused(all, token_endpoint, "", now) > 1;
}

bool MaybeSuperseded(const Snapshots& all, const Registration& registration) {
  const Generation* serving = registration.serving();
  if (serving == nullptr || serving->refusals == 0) return false;
  for (const Generation& one : registration.generations) {
    if (one.number > serving->number && (one.state == GenerationState::kOrphaned ||
                                         one.state == GenerationState::kContextChanged)) {
      return true;
    }
  }
  return std::any_of(all.begin(), all.end(), [&](const RegistrationStore::Snapshot& other) {
    return other->id != registration.id && SameOwnerAppAndServer(*other, registration) &&
           std::any_of(
               other->generations.begin(), other->generations.end(),
               [&](const Generation& one) { return one.registered_at > serving->registered_at; });
  });
}

absl::Status RefusalError(const Snapshots& all, const Registration& registration,
                          const Generation& generation, absl::string_view message, absl::Time now) {
  const absl::Time next = NextAttempt(registration, generation, now);
  // What may be tried at once is tried when somebody asks.
  const std::string when = next == absl::InfinitePast()
                               ? "at the next request"
                               : WallTime(next, now, absl::LocalTimeZone());
  std::string text(message.empty() ? "the server refused it" : message);
  if (MaybeSuperseded(all, registration)) {
    absl::StrAppend(&text, " (MAYBE_SUPERSEDED: there is a younger one for this app and server)");
  }
  Reason reason = Reason::kRefusedByServer;
  std::string remedy =
      absl::StrCat("if you removed this app in the portal: renew; otherwise wait, next try ", when);
  if (generation.state == GenerationState::kReauthRequired) {
    reason = Reason::kReauthRequired;
    remedy =
        absl::StrCat("renew it: 'smartkeyctl renew REG' keeps name and shares; otherwise wait, ",
                     "it is tried once a day, next try ", when);
  } else if (ServerRefusesAll(all, generation.token_endpoint, now)) {
    reason = Reason::kServerRefusingAll;
    remedy = absl::StrCat("wait: the server refuses others too, next try ", when,
                          "; if you removed this app in the portal: renew");
  }
  absl::Status status = WithRemedy(MakeError(reason, text), std::move(remedy));
  return WithRetryAfter(std::move(status),
                        next == absl::InfinitePast() ? absl::ZeroDuration() : next - now);
}

std::string WallTime(absl::Time time, absl::Time now, absl::TimeZone zone) {
  time = absl::UnixEpoch() + absl::Ceil(time - absl::UnixEpoch(), absl::Minutes(1));
  const bool today = absl::ToCivilDay(time, zone) == absl::ToCivilDay(now, zone);
  return absl::FormatTime(today ? "%H:%M" : "%Y-%m-%d %H:%M", time, zone);
}

}  // namespace smartkey
