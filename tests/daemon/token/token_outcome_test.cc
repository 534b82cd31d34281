// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_outcome.h"

#include <string>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

AccessToken TokenFor(std::string patient, std::string fhir_user = "") {
  AccessToken token;
  token.patient = Identifying(std::move(patient));
  token.fhir_user = Identifying(std::move(fhir_user));
  return token;
}

Registration InState(GenerationState state, bool has_had_a_token = true) {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, state, has_had_a_token)};
  return registration;
}

GenerationState StateAfter(GenerationState before, Reason reason) {
  Registration registration = InState(before);
  ApplyFailure(registration, 1, MakeError(reason, "said the server"), kNow);
  return registration.generations[0].state;
}

// What each answer means: one row for each reason that a token request can end with.
TEST(ApplyFailure, EachReason_ChangesTheStateAsTheProtocolSays) {
  const struct {
    Reason reason;
    GenerationState active_becomes;
  } rows[] = {
      {Reason::kNoNetwork, GenerationState::kActive},
      {Reason::kServerUnreachable, GenerationState::kActive},
      {Reason::kTlsNotTrusted, GenerationState::kActive},
      {Reason::kServerBusy, GenerationState::kActive},
      {Reason::kServerError, GenerationState::kActive},
      {Reason::kRefusedByServer, GenerationState::kSuspect},
      {Reason::kMisconfigured, GenerationState::kMisconfigured},
      {Reason::kInvalidScope, GenerationState::kActive},
      {Reason::kRequestRefused, GenerationState::kActive},
      {Reason::kUnexpectedStatus, GenerationState::kActive},
      {Reason::kRedirectRefused, GenerationState::kActive},
      {Reason::kIntercepted, GenerationState::kActive},
      {Reason::kBadServerAnswer, GenerationState::kActive},
      {Reason::kClockWrong, GenerationState::kActive},
      {Reason::kContextChanged, GenerationState::kContextChanged},
      {Reason::kHardwareAbsent, GenerationState::kActive},
      {Reason::kHardwareBusy, GenerationState::kActive},
      {Reason::kTpmLockout, GenerationState::kActive},
      {Reason::kSignatureWrong, GenerationState::kActive},
      {Reason::kKeyGone, GenerationState::kKeyLost},
      {Reason::kKeyDamaged, GenerationState::kKeyLost},
      {Reason::kKeyLostTpmCleared, GenerationState::kKeyLost},
      {Reason::kKeyLostOtherMachine, GenerationState::kKeyLost},
      {Reason::kStoreUnavailable, GenerationState::kActive},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(StateAfter(GenerationState::kActive, row.reason), row.active_becomes)
        << ReasonName(row.reason);
    Registration registration = InState(GenerationState::kActive);
    EXPECT_EQ(ApplyFailure(registration, 1, MakeError(row.reason, "x"), kNow),
              row.active_becomes != GenerationState::kActive)
        << ReasonName(row.reason);
  }
}

TEST(ApplyFailure, FirstRefusal_MakesItSuspectAndIsCounted) {
  Registration registration = InState(GenerationState::kActive);
  EXPECT_TRUE(ApplyFailure(registration, 1, MakeError(Reason::kRefusedByServer, "no"), kNow));
  const Generation& generation = registration.generations[0];
  EXPECT_EQ(generation.state, GenerationState::kSuspect);
  EXPECT_EQ(generation.refusals, 1);
  EXPECT_EQ(generation.first_refusal_at, kNow);
  EXPECT_EQ(generation.last_error, Reason::kRefusedByServer);
}

TEST(ApplyFailure, SixRefusalsInLessThanADay_AreStillSuspect) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  for (int i = 0; i < 20; ++i) {
    ApplyFailure(registration, 1, refusal, kNow + i * absl::Hours(1));
    EXPECT_EQ(registration.generations[0].state, GenerationState::kSuspect) << i;
  }
}

TEST(ApplyFailure, FiveRefusalsInADay_AreStillSuspectAndTheSixthIsEnough) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  for (int i = 0; i < 5; ++i) {
    ApplyFailure(registration, 1, refusal, kNow + i * absl::Hours(6));
    EXPECT_EQ(registration.generations[0].state, GenerationState::kSuspect) << i;
  }
  ApplyFailure(registration, 1, refusal, kNow + absl::Hours(25));
  EXPECT_EQ(registration.generations[0].state, GenerationState::kReauthRequired);
  EXPECT_EQ(registration.generations[0].ended_at, kNow) << "not when the refusals began";
  ApplyFailure(registration, 1, refusal, kNow + absl::Hours(26));
  EXPECT_EQ(registration.generations[0].state, GenerationState::kReauthRequired);
  EXPECT_EQ(registration.generations.size(), 1u);
}

TEST(ApplyFailure, WhatIsTriedAgain_TakesEveryVerdict) {
  for (const GenerationState tried :
       {GenerationState::kSuspect, GenerationState::kReauthRequired, GenerationState::kKeyLost}) {
    EXPECT_EQ(StateAfter(tried, Reason::kMisconfigured), GenerationState::kMisconfigured);
    EXPECT_EQ(StateAfter(tried, Reason::kContextChanged), GenerationState::kContextChanged);
    EXPECT_EQ(StateAfter(tried, Reason::kKeyGone), GenerationState::kKeyLost);
  }
  EXPECT_EQ(StateAfter(GenerationState::kKeyLost, Reason::kRefusedByServer),
            GenerationState::kSuspect);
}

TEST(ApplyFailure, RefusalsThatWereUnderWayTogether_CountOnce) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  EXPECT_TRUE(ApplyFailure(registration, 1, refusal, kNow));
  EXPECT_FALSE(ApplyFailure(registration, 1, refusal, kNow + absl::Seconds(2)));
  EXPECT_EQ(registration.generations[0].refusals, 1);
  EXPECT_EQ(registration.generations[0].last_refusal_at, kNow);
}

TEST(ApplyFailure, ClockWasSetBack_TheDayIsCountedFromThen) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  ApplyFailure(registration, 1, refusal, kNow + absl::Hours(24 * 365));
  for (int hours = 0; hours <= 24; hours += 4) {
    EXPECT_EQ(registration.generations[0].state, GenerationState::kSuspect) << hours;
    ApplyFailure(registration, 1, refusal, kNow + absl::Hours(hours));
  }
  EXPECT_EQ(registration.generations[0].state, GenerationState::kReauthRequired);
}

TEST(ApplyFailure, OthersAreRefusedToo_IsHeldForAWeekAtMost) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  for (int hours = 0; hours < 24 * 7; hours += 2) {
    ApplyFailure(registration, 1, refusal, kNow + absl::Hours(hours), true);
    EXPECT_EQ(registration.generations[0].state, GenerationState::kSuspect) << hours;
  }
  ApplyFailure(registration, 1, refusal, kNow + absl::Hours(24 * 7), true);
  EXPECT_EQ(registration.generations[0].state, GenerationState::kReauthRequired);
}

TEST(ApplyFailure, OthersAreNoLongerRefused_TheHoldEndsAtOnce) {
  Registration registration = InState(GenerationState::kActive);
  const absl::Status refusal = MakeError(Reason::kRefusedByServer, "no");
  for (int hours = 0; hours < 30; hours += 2) {
    ApplyFailure(registration, 1, refusal, kNow + absl::Hours(hours), true);
  }
  ApplyFailure(registration, 1, refusal, kNow + absl::Hours(30), false);
  EXPECT_EQ(registration.generations[0].state, GenerationState::kReauthRequired);
  EXPECT_EQ(registration.generations[0].ended_at, kNow);
}

TEST(ApplyFailure, JustRegistered_RefusalsCountForNothing) {
  Registration registration = InState(GenerationState::kVerifying, false);
  EXPECT_FALSE(ApplyFailure(registration, 1, MakeError(Reason::kRefusedByServer, "no"), kNow));
  EXPECT_EQ(registration.generations[0].state, GenerationState::kVerifying);
  EXPECT_EQ(registration.generations[0].refusals, 0);
}

TEST(ApplyFailure, BeingDeleted_StaysSoWhateverFails) {
  for (const Reason reason : {Reason::kKeyGone, Reason::kContextChanged, Reason::kMisconfigured,
                              Reason::kRefusedByServer}) {
    EXPECT_EQ(StateAfter(GenerationState::kDeleting, reason), GenerationState::kDeleting)
        << ReasonName(reason);
  }
}

TEST(ApplyFailure, GenerationIsGone_NothingChanges) {
  Registration registration = InState(GenerationState::kActive);
  EXPECT_FALSE(ApplyFailure(registration, 7, MakeError(Reason::kRefusedByServer, "no"), kNow));
}

TEST(ApplyToken, FirstToken_PinsPatientAndUserAndMakesItActive) {
  Registration registration = InState(GenerationState::kVerifying, false);
  registration.patient = Identifying();
  ASSERT_TRUE(ApplyToken(registration, 1, TokenFor("p1", "Practitioner/7"), kNow).ok());
  EXPECT_EQ(registration.patient, Identifying("p1"));
  EXPECT_EQ(registration.fhir_user, Identifying("Practitioner/7"));
  EXPECT_EQ(registration.generations[0].state, GenerationState::kActive);
  EXPECT_EQ(registration.generations[0].patient, Identifying("p1"));
  EXPECT_EQ(registration.generations[0].first_token_at, kNow);
  EXPECT_EQ(registration.generations[0].last_token_at, kNow);
}

TEST(ApplyToken, TokenAfterRefusals_ClearsThem) {
  Registration registration = InState(GenerationState::kReauthRequired);
  registration.generations[0].refusals = 9;
  registration.generations[0].first_refusal_at = kNow - absl::Hours(50);
  registration.generations[0].last_refusal_at = kNow - absl::Hours(1);
  registration.generations[0].ended_at = kNow - absl::Hours(50);
  registration.generations[0].last_error = Reason::kRefusedByServer;
  ASSERT_TRUE(ApplyToken(registration, 1, TokenFor("patient-1"), kNow).ok());
  const Generation& generation = registration.generations[0];
  EXPECT_EQ(generation.state, GenerationState::kActive);
  EXPECT_EQ(generation.refusals, 0);
  EXPECT_EQ(generation.first_refusal_at, absl::InfinitePast());
  EXPECT_EQ(generation.last_refusal_at, absl::InfinitePast());
  EXPECT_EQ(generation.ended_at, absl::InfinitePast());
  EXPECT_EQ(generation.last_error, Reason::kUnspecified);
}

TEST(ApplyToken, RenewedAfterItsAccessEnded_HowLongThatLastedIsKept) {
  Registration registration = InState(GenerationState::kReauthRequired);
  registration.generations[0].registered_at = kNow - absl::Hours(24 * 90);
  registration.generations[0].ended_at = kNow - absl::Hours(24);
  registration.generations.push_back(MakeGeneration(2, GenerationState::kVerifying, false));
  ASSERT_TRUE(ApplyToken(registration, 2, TokenFor("patient-1"), kNow).ok());
  EXPECT_EQ(registration.earlier_lifetimes, std::vector<absl::Duration>{absl::Hours(24 * 89)});
}

TEST(ApplyToken, AnotherPatientOrUser_IsRefusedAndNothingChanges) {
  Registration registration = InState(GenerationState::kActive);
  registration.fhir_user = Identifying("Practitioner/7");
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 1, TokenFor("patient-2"), kNow)),
            Reason::kContextChanged);
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 1, TokenFor("patient-1", "Practitioner/8"), kNow)),
            Reason::kContextChanged);
  EXPECT_EQ(registration.patient, Identifying("patient-1"));
  EXPECT_EQ(registration.generations[0].state, GenerationState::kActive);
  EXPECT_EQ(registration.generations[0].last_token_at, absl::InfinitePast());
}

TEST(ApplyToken, NoPatientNamed_IsNoOtherPatient) {
  Registration registration = InState(GenerationState::kActive);
  EXPECT_TRUE(ApplyToken(registration, 1, TokenFor(""), kNow).ok());
  EXPECT_EQ(registration.patient, Identifying("patient-1"));
}

TEST(ApplyToken, ContextMayVary_PinsNothing) {
  Registration registration = InState(GenerationState::kActive);
  registration.context_varies = true;
  registration.patient = Identifying();
  EXPECT_TRUE(ApplyToken(registration, 1, TokenFor("p1"), kNow).ok());
  EXPECT_TRUE(ApplyToken(registration, 1, TokenFor("p2"), kNow).ok());
  EXPECT_TRUE(registration.patient.empty());
}

TEST(ApplyToken, ContextHasChangedBefore_ALaterGoodAnswerDoesNotOpenItAgain) {
  Registration registration = InState(GenerationState::kContextChanged);
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 1, TokenFor("patient-1"), kNow)),
            Reason::kContextChanged);
  EXPECT_EQ(registration.generations[0].state, GenerationState::kContextChanged);
}

TEST(ApplyToken, BeingDeletedOrGone_IsNotFound) {
  Registration registration = InState(GenerationState::kDeleting);
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 1, TokenFor("patient-1"), kNow)),
            Reason::kRegistrationNotFound);
  EXPECT_EQ(registration.generations[0].state, GenerationState::kDeleting);
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 5, TokenFor("patient-1"), kNow)),
            Reason::kRegistrationNotFound);
}

TEST(ApplyToken, FirstTokenOfARenewal_RetiresTheGenerationsBefore) {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, GenerationState::kSuspect, true),
                              MakeGeneration(2, GenerationState::kOrphaned, false),
                              MakeGeneration(3, GenerationState::kVerifying, false),
                              MakeGeneration(4, GenerationState::kPending, false)};
  ASSERT_TRUE(ApplyToken(registration, 3, TokenFor("patient-1"), kNow).ok());
  ASSERT_EQ(registration.generations.size(), 2u);
  EXPECT_EQ(registration.generations[0].number, 3);
  EXPECT_EQ(registration.generations[0].state, GenerationState::kActive);
  EXPECT_EQ(registration.generations[1].number, 4);

  // Whatever state it was in, one with a key stays until the key is destroyed.
  for (const StateRow& row : AllStates()) {
    registration.generations = {MakeGeneration(1, row.state, true),
                                MakeGeneration(2, GenerationState::kVerifying, false)};
    registration.generations[0].key.blob = "a key";
    ASSERT_TRUE(ApplyToken(registration, 2, TokenFor("patient-1"), kNow).ok()) << row.name;
    ASSERT_EQ(registration.generations.size(), 2u) << row.name;
    EXPECT_EQ(registration.generations[0].state, GenerationState::kDeleting) << row.name;
    EXPECT_TRUE(IsRetired(registration, registration.generations[0])) << row.name;
    EXPECT_FALSE(IsRetired(registration, registration.generations[1])) << row.name;
    EXPECT_EQ(registration.state(), GenerationState::kActive) << row.name;
  }
}

TEST(ApplyToken, AccessOfTheGenerationBeforeHadEnded_ItsLengthIsRemembered) {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, GenerationState::kReauthRequired, true),
                              MakeGeneration(2, GenerationState::kVerifying, false)};
  registration.generations[0].registered_at = kNow - absl::Hours(24 * 90);
  registration.generations[0].ended_at = kNow;
  ASSERT_TRUE(ApplyToken(registration, 2, TokenFor("patient-1"), kNow + absl::Hours(30)).ok());
  EXPECT_EQ(registration.earlier_lifetimes, std::vector<absl::Duration>{absl::Hours(24 * 90)});
}

Registration Renewed() {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true),
                              MakeGeneration(2, GenerationState::kVerifying, false)};
  registration.generations[1].key.blob = "a key";
  registration.shares = {Share{.id = "s1", .principal = "user:bob"}};
  return registration;
}

TEST(ApplyToken, FirstTokenOfARenewalNamesNobody_IsNotTakenForTheSamePatient) {
  Registration registration = Renewed();
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 2, TokenFor(""), kNow)), Reason::kContextChanged);
  EXPECT_EQ(registration.generations.size(), 2u);
}

TEST(ApplyToken, RenewalForANewPatient_PinsAnewAndDropsAllShares) {
  Registration registration = Renewed();
  registration.fhir_user = Identifying("Practitioner/7");
  registration.generations[1].accepts_new_patient = true;
  ASSERT_TRUE(ApplyToken(registration, 2, TokenFor("patient-2"), kNow).ok());
  EXPECT_EQ(registration.patient, Identifying("patient-2"));
  EXPECT_TRUE(registration.fhir_user.empty());
  EXPECT_TRUE(registration.shares.empty());
  // From here on that one is pinned.
  EXPECT_EQ(ReasonOf(ApplyToken(registration, 2, TokenFor("patient-1"), kNow)),
            Reason::kContextChanged);
}

TEST(ApplyToken, RenewalForTheSamePatient_KeepsTheShares) {
  Registration registration = Renewed();
  ASSERT_TRUE(ApplyToken(registration, 2, TokenFor("patient-1"), kNow).ok());
  EXPECT_EQ(registration.shares.size(), 1u);
}

TEST(ApplyToken, TokenThatWasUnderWayWhenItBecameMisconfigured_ProvesItWrong) {
  Registration registration = InState(GenerationState::kMisconfigured);
  EXPECT_TRUE(ApplyToken(registration, 1, TokenFor("patient-1"), kNow).ok());
  EXPECT_EQ(registration.generations[0].state, GenerationState::kActive);
}

TEST(ApplyToken, TokenAfterTheKeyWasLost_ShowsThatItIsNot) {
  Registration registration = InState(GenerationState::kActive);
  ApplyFailure(registration, 1, MakeError(Reason::kKeyDamaged, "damaged"), kNow);
  EXPECT_TRUE(ApplyToken(registration, 1, TokenFor("patient-1"), kNow).ok());
  EXPECT_EQ(registration.generations[0].state, GenerationState::kActive);
  EXPECT_EQ(registration.generations[0].last_error, Reason::kUnspecified);
}

TEST(ApplyContextChange, TokenOfTheServingGeneration_ItSaysWhomTheTokenNamedAndGivesNoMore) {
  Registration registration = InState(GenerationState::kActive);
  EXPECT_TRUE(ApplyContextChange(registration, 1, TokenFor("patient-2", "Practitioner/8")));
  EXPECT_EQ(registration.generations[0].patient, Identifying("patient-2"));
  EXPECT_EQ(registration.generations[0].fhir_user, Identifying("Practitioner/8"));
  EXPECT_EQ(registration.patient, Identifying("patient-1"));
  EXPECT_EQ(ReasonOf(ServingGeneration(registration).status()), Reason::kContextChanged);
}

TEST(ApplyContextChange, TokenOfARenewal_TheRegistrationSaysSoAndTheOldOneServes) {
  Registration registration = Renewed();
  EXPECT_TRUE(ApplyContextChange(registration, 2, TokenFor("patient-2")));
  EXPECT_EQ(registration.state(), GenerationState::kContextChanged);
  ASSERT_TRUE(ServingGeneration(registration).ok());
  EXPECT_EQ((*ServingGeneration(registration))->number, 1);
  EXPECT_EQ(registration.newest().patient, Identifying("patient-2"));
}

TEST(ApplyContextChange, BeingDeleted_StaysSo) {
  Registration registration = InState(GenerationState::kDeleting);
  EXPECT_FALSE(ApplyContextChange(registration, 1, TokenFor("patient-2")));
  EXPECT_TRUE(registration.generations[0].patient.empty());
}

TEST(ApplyToken, OldGenerationServesWhileARenewalIsUnderWay_NothingIsRetired) {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true),
                              MakeGeneration(2, GenerationState::kVerifying, false)};
  ASSERT_TRUE(ApplyToken(registration, 1, TokenFor("patient-1"), kNow).ok());
  EXPECT_EQ(registration.generations.size(), 2u);
}

TEST(ServingGeneration, EachState_GivesTokensOrSaysWhyNot) {
  const struct {
    GenerationState state;
    Reason reason;
  } rows[] = {
      {GenerationState::kPending, Reason::kNotReady},
      {GenerationState::kRegistering, Reason::kNotReady},
      {GenerationState::kVerifying, Reason::kNotReady},
      {GenerationState::kActive, Reason::kUnspecified},
      {GenerationState::kSuspect, Reason::kUnspecified},
      {GenerationState::kReauthRequired, Reason::kReauthRequired},
      {GenerationState::kMisconfigured, Reason::kMisconfigured},
      {GenerationState::kContextChanged, Reason::kContextChanged},
      {GenerationState::kOrphaned, Reason::kOrphaned},
      {GenerationState::kKeyUnavailable, Reason::kKeyUnavailable},
      {GenerationState::kKeyLost, Reason::kKeyGone},
      {GenerationState::kDeleting, Reason::kDeleting},
  };
  for (const auto& row : rows) {
    const Registration registration = InState(row.state);
    EXPECT_EQ(ReasonOf(ServingGeneration(registration).status()), row.reason)
        << GenerationStateName(row.state);
  }
}

TEST(ServingGeneration, KeyWasLost_NamesTheLossThatWasFound) {
  Registration registration = InState(GenerationState::kActive);
  ApplyFailure(registration, 1, MakeError(Reason::kKeyLostTpmCleared, "cleared"), kNow);
  EXPECT_EQ(ReasonOf(ServingGeneration(registration).status()), Reason::kKeyLostTpmCleared);
}

TEST(ServingGeneration, RenewalIsUnderWay_IsTheOldOne) {
  Registration registration = MakeRegistration("r1");
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true),
                              MakeGeneration(2, GenerationState::kRegistering, false)};
  ASSERT_TRUE(ServingGeneration(registration).ok());
  EXPECT_EQ((*ServingGeneration(registration))->number, 1);
}

TEST(ServingGeneration, Suspended_GivesNothing) {
  Registration registration = InState(GenerationState::kActive);
  registration.suspension = Suspension{1000, "alice", false, "lost laptop", absl::InfinitePast()};
  EXPECT_EQ(ReasonOf(ServingGeneration(registration).status()), Reason::kSuspended);
  EXPECT_EQ(RemedyOf(ServingGeneration(registration).status()), RowFor(Reason::kSuspended).remedy);
}

TEST(ServingGeneration, SuspendedByTheAdministrator_NobodyIsSentToAnOwner) {
  Registration registration = InState(GenerationState::kActive);
  registration.suspension = Suspension{0, "root", true, "lost laptop", absl::InfinitePast()};
  const absl::Status refused = ServingGeneration(registration).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kSuspended);
  EXPECT_EQ(RemedyOf(refused), "ask the administrator to resume it");
}

}  // namespace
}  // namespace smartkey
