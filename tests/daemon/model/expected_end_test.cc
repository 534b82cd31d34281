// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/expected_end.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);
const absl::Time kRegistered = absl::FromUnixSeconds(1'800'000'000);

Registration Working(absl::Duration access_for = absl::ZeroDuration(),
                     std::vector<absl::Duration> earlier = {}) {
  Generation generation;
  generation.state = GenerationState::kActive;
  generation.registered_at = kRegistered;
  generation.first_token_at = kRegistered + absl::Seconds(5);
  generation.access_for = access_for;
  Registration registration;
  registration.generations = {generation};
  registration.earlier_lifetimes = std::move(earlier);
  return registration;
}

TEST(ExpectedEnd, NothingIsKnown_ThereIsNone) {
  EXPECT_FALSE(FindExpectedEnd(Working(), kRegistered).has_value());
}

TEST(ExpectedEnd, ThePersonSaidIt_CountsFromTheRegistrationAndBeforeEarlierGenerations) {
  const auto end = FindExpectedEnd(Working(90 * kDay, {kDay}), kRegistered);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->time, kRegistered + 90 * kDay);
  EXPECT_EQ(end->source, ExpectedEnd::Source::kPerson);
  // Also when it is past: the person may have been wrong, and is told so.
  EXPECT_TRUE(FindExpectedEnd(Working(kDay), kRegistered + 2 * kDay).has_value());
}

TEST(ExpectedEnd, EarlierGenerationsEnded_TheShortestThatIsNotOutlivedCounts) {
  const Registration registration = Working({}, {90 * kDay, kDay, 365 * kDay});
  const auto end_at = [&](absl::Duration age) {
    const auto end = FindExpectedEnd(registration, kRegistered + age);
    return end.has_value() ? end->time - kRegistered : absl::ZeroDuration();
  };
  EXPECT_EQ(end_at(absl::Hours(1)), kDay);
  EXPECT_EQ(end_at(kDay), 90 * kDay);
  EXPECT_EQ(end_at(91 * kDay), 365 * kDay);
  EXPECT_EQ(end_at(366 * kDay), absl::ZeroDuration());
  EXPECT_EQ(FindExpectedEnd(registration, kRegistered)->source,
            ExpectedEnd::Source::kEarlierGenerations);
}

TEST(ExpectedEnd, TokensDoNotComeAnyway_ThereIsNone) {
  for (const auto state :
       {GenerationState::kReauthRequired, GenerationState::kContextChanged,
        GenerationState::kKeyLost, GenerationState::kMisconfigured, GenerationState::kDeleting}) {
    Registration registration = Working(90 * kDay);
    registration.generations[0].state = state;
    EXPECT_FALSE(FindExpectedEnd(registration, kRegistered).has_value());
  }
  Registration enrolling = Working(90 * kDay);
  enrolling.generations[0].first_token_at = absl::InfinitePast();
  enrolling.generations[0].state = GenerationState::kVerifying;
  EXPECT_FALSE(FindExpectedEnd(enrolling, kRegistered).has_value());
}

TEST(ExpectedEnd, RenewalIsUnderWay_TheServingGenerationsEndCounts) {
  Registration registration = Working(90 * kDay);
  Generation next;
  next.number = 2;
  next.access_for = 365 * kDay;
  registration.generations.push_back(next);
  EXPECT_EQ(FindExpectedEnd(registration, kRegistered)->time, kRegistered + 90 * kDay);
}

TEST(EndingWithinDays, IsTheSmallestOfFourteenSevenAndOne) {
  const Registration registration = Working(90 * kDay);
  const auto days_before = [&](absl::Duration left) {
    return EndingWithinDays(registration, kRegistered + 90 * kDay - left);
  };
  EXPECT_EQ(days_before(14 * kDay + absl::Seconds(1)), 0);
  EXPECT_EQ(days_before(14 * kDay), 14);
  EXPECT_EQ(days_before(7 * kDay + absl::Seconds(1)), 14);
  EXPECT_EQ(days_before(7 * kDay), 7);
  EXPECT_EQ(days_before(kDay + absl::Seconds(1)), 7);
  EXPECT_EQ(days_before(kDay), 1);
  EXPECT_EQ(days_before(absl::Seconds(1)), 1);
  EXPECT_EQ(days_before(absl::ZeroDuration()), 0);
  EXPECT_EQ(days_before(-kDay), 0);
}

TEST(SayAccessFor, ThePersonChangesItsMind_CountsFromNow) {
  Registration registration = Working(90 * kDay);
  const absl::Time now = kRegistered + 10 * kDay;
  SayAccessFor(registration, 30 * kDay, now);
  EXPECT_EQ(FindExpectedEnd(registration, now)->time, now + 30 * kDay);
  SayAccessFor(registration, absl::ZeroDuration(), now);
  EXPECT_FALSE(FindExpectedEnd(registration, now).has_value());
  // Not registered yet: counts from the registration.
  registration.generations[0].first_token_at = absl::InfinitePast();
  registration.generations[0].registered_at = absl::InfinitePast();
  SayAccessFor(registration, 30 * kDay, now);
  EXPECT_EQ(registration.generations[0].access_for, 30 * kDay);
}

TEST(CheckAccessFor, ASecondToTenYearsAreTaken) {
  for (const absl::Duration good : {absl::Seconds(1), 365 * kDay, 3650 * kDay}) {
    EXPECT_TRUE(CheckAccessFor(good).ok()) << good;
  }
  for (const absl::Duration bad :
       {absl::ZeroDuration(), absl::Milliseconds(999), 3661 * kDay, absl::InfiniteDuration()}) {
    EXPECT_EQ(ReasonOf(CheckAccessFor(bad)), Reason::kInvalidArgument) << bad;
  }
}

TEST(NoteLifetime, OnlyAnEndThatWasSeenIsKept) {
  Registration registration = Working();
  Generation ended = registration.generations[0];
  NoteLifetime(registration, ended);  // replaced while it worked: who knows how long it had
  EXPECT_TRUE(registration.earlier_lifetimes.empty());
  ended.ended_at = kRegistered + 30 * kDay;
  NoteLifetime(registration, ended);
  ended.ended_at = kRegistered - kDay;  // a clock that was wrong
  NoteLifetime(registration, ended);
  ended.registered_at = absl::InfinitePast();
  NoteLifetime(registration, ended);
  EXPECT_EQ(registration.earlier_lifetimes, std::vector<absl::Duration>{30 * kDay});
}

TEST(NoteLifetime, TheLastEightAreKept) {
  Registration registration = Working();
  Generation ended = registration.generations[0];
  for (int days = 1; days <= 10; ++days) {
    ended.ended_at = kRegistered + days * kDay;
    NoteLifetime(registration, ended);
  }
  ASSERT_EQ(registration.earlier_lifetimes.size(), 8u);
  EXPECT_EQ(registration.earlier_lifetimes.front(), 3 * kDay);
  EXPECT_EQ(registration.earlier_lifetimes.back(), 10 * kDay);
}

}  // namespace
}  // namespace smartkey
