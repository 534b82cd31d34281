// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/expected_end.h"

#include <algorithm>

#include "base/error.h"

namespace smartkey {

namespace {

constexpr size_t kMostLifetimes = 8;
constexpr absl::Duration kLongestAccess = absl::Hours(10 * 366 * 24);
constexpr int kWarningDays[] = {1, 7, 14};

bool GivesTokens(const Generation& generation) {
  return generation.state == GenerationState::kActive ||
         generation.state == GenerationState::kSuspect;
}

}  // namespace

absl::optional<ExpectedEnd> FindExpectedEnd(const Registration& registration, absl::Time now) {
  const Generation* generation = registration.serving();
  if (generation == nullptr || !GivesTokens(*generation)) return absl::nullopt;
  const absl::Time begin = generation->registered_at;
  if (begin == absl::InfinitePast()) return absl::nullopt;
  if (generation->access_for > absl::ZeroDuration()) {
    return ExpectedEnd{begin + generation->access_for, ExpectedEnd::Source::kPerson};
  }
  absl::Time end = absl::InfiniteFuture();
  for (const absl::Duration lifetime : registration.earlier_lifetimes) {
    if (begin + lifetime > now) end = std::min(end, begin + lifetime);
  }
  if (end == absl::InfiniteFuture()) return absl::nullopt;
  return ExpectedEnd{end, ExpectedEnd::Source::kEarlierGenerations};
}

int EndingWithinDays(const Registration& registration, absl::Time now) {
  const absl::optional<ExpectedEnd> end = FindExpectedEnd(registration, now);
  if (!end.has_value() || end->time <= now) return 0;
  for (const int days : kWarningDays) {
    if (end->time - now <= days * absl::Hours(24)) return days;
  }
  return 0;
}

absl::Status CheckAccessFor(absl::Duration access_for) {
  if (access_for >= absl::Seconds(1) && access_for <= kLongestAccess) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "an access is given for a second to ten years; leave it out if it has no end");
}

void SayAccessFor(Registration& registration, absl::Duration from_now, absl::Time now) {
  const Generation* serving = registration.serving();
  Generation& generation = *registration.FindGeneration(
      serving != nullptr ? serving->number : registration.newest().number);
  const bool counted =
      from_now > absl::ZeroDuration() && generation.registered_at != absl::InfinitePast();
  generation.access_for = counted ? now + from_now - generation.registered_at : from_now;
}

void NoteLifetime(Registration& registration, const Generation& generation) {
  if (generation.ended_at == absl::InfinitePast() ||
      generation.registered_at == absl::InfinitePast() ||
      generation.ended_at <= generation.registered_at) {
    return;
  }
  std::vector<absl::Duration>& lifetimes = registration.earlier_lifetimes;
  lifetimes.push_back(generation.ended_at - generation.registered_at);
  if (lifetimes.size() > kMostLifetimes) lifetimes.erase(lifetimes.begin());
}

}  // namespace smartkey
