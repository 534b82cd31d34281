// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/refusals.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

Registration Refused(const std::string& id, absl::Duration ago, int refusals = 3) {
  Registration registration = MakeRegistration(id);
  Generation& generation = registration.generations[0];
  generation.state = GenerationState::kSuspect;
  generation.refusals = refusals;
  generation.last_refusal_at = kNow - ago;
  generation.first_refusal_at = kNow - ago - absl::Hours(2);
  generation.last_error = Reason::kRefusedByServer;
  return registration;
}

std::vector<RegistrationStore::Snapshot> All(std::vector<Registration> registrations) {
  std::vector<RegistrationStore::Snapshot> all;
  for (Registration& one : registrations) {
    all.push_back(std::make_shared<const Registration>(std::move(one)));
  }
  return all;
}

absl::Duration WaitOf(const Registration& registration) {
  const absl::Time next = NextAttempt(registration, registration.generations[0], kNow);
  return next == absl::InfinitePast() ? absl::ZeroDuration() : next - kNow;
}

TEST(NextAttempt, Refusals_WaitFiveMinutesThenAnHourThenADay) {
  const Registration once = Refused("r1", absl::ZeroDuration(), 1);
  EXPECT_GT(WaitOf(once), absl::Minutes(4));
  EXPECT_LT(WaitOf(once), absl::Minutes(6));
  const Registration often = Refused("r1", absl::ZeroDuration(), 4);
  EXPECT_GT(WaitOf(often), absl::Minutes(50));
  EXPECT_LT(WaitOf(often), absl::Minutes(70));
  Registration given_up = often;
  given_up.generations[0].state = GenerationState::kReauthRequired;
  EXPECT_GT(WaitOf(given_up), absl::Hours(20));
  EXPECT_LT(WaitOf(given_up), absl::Hours(28));
}

TEST(NextAttempt, SameRecord_IsTheSameTimeAndAnotherRegistrationAnotherTime) {
  const Registration one = Refused("r1", absl::Minutes(10));
  EXPECT_EQ(WaitOf(one), WaitOf(Refused("r1", absl::Minutes(10))));
  EXPECT_NE(WaitOf(one), WaitOf(Refused("r2", absl::Minutes(10))));
}

TEST(NextAttempt, TimeHasPassedOrNothingWasRefused_IsHeldBackByNothing) {
  EXPECT_EQ(WaitOf(Refused("r1", absl::Hours(2))), absl::ZeroDuration());
  EXPECT_EQ(WaitOf(MakeRegistration("r1")), absl::ZeroDuration());
}

TEST(NextAttempt, ClockWasSetBack_HoldsNothingBack) {
  EXPECT_EQ(WaitOf(Refused("r1", -absl::Hours(24 * 365))), absl::ZeroDuration());
  EXPECT_GT(WaitOf(Refused("r1", -absl::Seconds(10))), absl::Minutes(50));
}

TEST(ServerRefusesAll, TwoWithinTheHour_AreTheServerAndOneIsNot) {
  EXPECT_FALSE(ServerRefusesAll(All({Refused("r1", absl::Minutes(5))}), kEndpoint, kNow));
  const auto both = All({Refused("r1", absl::Minutes(5)), Refused("r2", absl::Minutes(50))});
  EXPECT_TRUE(ServerRefusesAll(both, kEndpoint, kNow));
  EXPECT_FALSE(ServerRefusesAll(both, "https://other.example/token", kNow));
}

TEST(OthersAreRefused, AnotherOneWithinTheHour_IsAndOneAloneIsNot) {
  const Registration refused = Refused("r1", absl::Minutes(5));
  const auto others = [&](std::vector<Registration> all) {
    return OthersAreRefused(All(std::move(all)), refused, refused.generations[0], kNow);
  };
  EXPECT_TRUE(others({refused, Refused("r2", absl::Minutes(50))}));
  EXPECT_FALSE(others({refused}));
  EXPECT_FALSE(others({refused, Refused("r2", absl::Hours(3))}));
}

TEST(OthersAreRefused, MachineWasOffSinceBothWere_TheFirstOneTriedIsNotBlamed) {
  const Registration refused = Refused("r1", absl::Hours(9));
  const auto others = [&](std::vector<Registration> all) {
    return OthersAreRefused(All(std::move(all)), refused, refused.generations[0], kNow);
  };
  EXPECT_TRUE(others({refused, Refused("r2", absl::Hours(8))}));
  EXPECT_FALSE(others({refused, Refused("r2", absl::Hours(7))}));
  Registration working = MakeRegistration("r3");
  working.generations[0].last_token_at = kNow - absl::Minutes(1);
  EXPECT_FALSE(others({refused, Refused("r2", absl::Hours(8)), working}));
}

TEST(ServerRefusesAll, TheOtherWasRefusedHoursAgo_IsNotTheServer) {
  EXPECT_FALSE(ServerRefusesAll(
      All({Refused("r1", absl::Minutes(5)), Refused("r2", absl::Hours(3))}), kEndpoint, kNow));
}

TEST(ServerRefusesAll, SomebodyHasHadATokenSince_IsNotTheServer) {
  Registration working = MakeRegistration("r3");
  working.generations[0].last_token_at = kNow - absl::Minutes(1);
  EXPECT_FALSE(ServerRefusesAll(
      All({Refused("r1", absl::Minutes(5)), Refused("r2", absl::Minutes(10)), working}), kEndpoint,
      kNow));
  working.generations[0].last_token_at = kNow - absl::Minutes(20);
  EXPECT_TRUE(ServerRefusesAll(
      All({Refused("r1", absl::Minutes(5)), Refused("r2", absl::Minutes(10)), working}), kEndpoint,
      kNow));
}

TEST(ServerRefusesAll, TheOtherIsGivenUpAlready_IsNoEvidence) {
  Registration given_up = Refused("r2", absl::Minutes(10));
  given_up.generations[0].state = GenerationState::kReauthRequired;
  EXPECT_FALSE(ServerRefusesAll(All({Refused("r1", absl::Minutes(5)), given_up}), kEndpoint, kNow));
}

TEST(MaybeSuperseded, YoungerOneOfTheSameOwnerAppAndServer_MayBeWhy) {
  Registration refused = Refused("r1", absl::Minutes(5));
  refused.generations[0].registered_at = kNow - absl::Hours(100);
  Registration younger = MakeRegistration("r2");
  younger.generations[0].registered_at = kNow - absl::Hours(1);
  EXPECT_TRUE(MaybeSuperseded(All({refused, younger}), refused));
  EXPECT_FALSE(MaybeSuperseded(All({refused, younger}), younger));  // works

  Registration older = younger;
  older.generations[0].registered_at = kNow - absl::Hours(200);
  EXPECT_FALSE(MaybeSuperseded(All({refused, older}), refused));
  for (const auto& differ : std::vector<std::function<void(Registration&)>>{
           [](Registration& r) { r.owner_uid = 1001; },
           [](Registration& r) { r.owner_name = "alice-before"; },
           [](Registration& r) { r.app_id = "org.example.other"; },
           [](Registration& r) { r.fhir_base = "https://other.example/fhir"; }}) {
    Registration other = younger;
    differ(other);
    EXPECT_FALSE(MaybeSuperseded(All({refused, other}), refused));
  }
}

TEST(MaybeSuperseded, OwnRenewalCameToNothing_MayBeWhy) {
  Registration refused = Refused("r1", absl::Minutes(5));
  for (const GenerationState state :
       {GenerationState::kOrphaned, GenerationState::kContextChanged}) {
    Registration with = refused;
    with.generations.push_back(MakeGeneration(2, state, false));
    EXPECT_TRUE(MaybeSuperseded(All({with}), with)) << GenerationStateName(state);
  }
}

TEST(RefusalError, Suspect_SaysBothHalvesWithTheTimeOfTheNextTry) {
  const Registration refused = Refused("r1", absl::ZeroDuration(), 1);
  const absl::Status error =
      RefusalError(All({refused}), refused, refused.generations[0], "the server answered so", kNow);
  EXPECT_EQ(ReasonOf(error), Reason::kRefusedByServer);
  EXPECT_EQ(error.message(), "the server answered so");
  const absl::Time next = NextAttempt(refused, refused.generations[0], kNow);
  EXPECT_EQ(RemedyOf(error),
            "if you removed this app in the portal: renew; otherwise wait, next try " +
                WallTime(next, kNow, absl::LocalTimeZone()));
  EXPECT_EQ(RetryAfterOf(error), absl::Ceil(next - kNow, absl::Milliseconds(1)));
}

TEST(RefusalError, ServerRefusesAll_BlamesNobodyAndSaysBothHalves) {
  const Registration refused = Refused("r1", absl::Minutes(1));
  const auto all = All({refused, Refused("r2", absl::Minutes(2))});
  const absl::Status error = RefusalError(all, refused, refused.generations[0], "", kNow);
  EXPECT_EQ(ReasonOf(error), Reason::kServerRefusingAll);
  EXPECT_NE(RemedyOf(error).find("next try"), std::string::npos);
  EXPECT_NE(RemedyOf(error).find("renew"), std::string::npos);
}

TEST(RefusalError, GivenUp_IsForThePersonWhateverTheServerDoes) {
  Registration refused = Refused("r1", absl::Minutes(1));
  refused.generations[0].state = GenerationState::kReauthRequired;
  const auto all = All({refused, Refused("r2", absl::Minutes(2)), Refused("r3", absl::Minutes(3))});
  const absl::Status error = RefusalError(all, refused, refused.generations[0], "", kNow);
  EXPECT_EQ(ReasonOf(error), Reason::kReauthRequired);
  EXPECT_EQ(UserActionOf(error), UserAction::kRenew);
  EXPECT_LE(RemedyOf(error).size(), kMaxRemedyBytes);
}

TEST(RefusalError, YoungerOneExists_HintsAtIt) {
  Registration refused = Refused("r1", absl::Minutes(1));
  Registration younger = MakeRegistration("r2");
  younger.generations[0].registered_at = kNow;
  const absl::Status error =
      RefusalError(All({refused, younger}), refused, refused.generations[0], "no", kNow);
  EXPECT_NE(error.message().find("MAYBE_SUPERSEDED"), std::string::npos);
}

TEST(WallTime, Today_IsHoursAndMinutesRoundedUpElseWithTheDate) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time now = absl::FromCivil(absl::CivilSecond(2026, 11, 25, 14, 0, 0), utc);
  EXPECT_EQ(WallTime(now + absl::Minutes(66) + absl::Seconds(1), now, utc), "15:07");
  EXPECT_EQ(WallTime(now + absl::Minutes(67), now, utc), "15:07");
  EXPECT_EQ(WallTime(now + absl::Hours(25), now, utc), "2026-11-26 15:00");
}

}  // namespace
}  // namespace smartkey
