// SPDX-License-Identifier: Apache-2.0
// Hits, single flight, waiters, scopes, lifetimes.
#include "daemon/token/token_manager.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

TEST_F(TokenManagerTest, FirstCall_FetchesAndSaysItIsFresh) {
  const auto asked = Ask();
  EXPECT_EQ(asked->answers, 0);
  EXPECT_NE(asked->id, 0u);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_EQ(asked->source(), TokenSource::kFresh);
  EXPECT_EQ(asked->result->generation, 1);
  EXPECT_EQ(asked->result->registration->id, "r1");
  EXPECT_EQ(asked->result->token->lifetime, absl::Hours(1));
}

TEST_F(TokenManagerTest, TokenIsCached_IsAnsweredInsideTheCallWithoutAMint) {
  Cache("t1", absl::Hours(1));
  store_.Hold();  // a disk that hangs does not matter
  for (int i = 0; i < 100; ++i) {
    const auto asked = Ask();
    EXPECT_EQ(asked->id, 0u);
    EXPECT_EQ(asked->value(), "t1");
    EXPECT_EQ(asked->source(), TokenSource::kCache);
  }
  EXPECT_EQ(minter_.mints(), 1);
  EXPECT_EQ(manager_->status().hits, 100u);
  EXPECT_EQ(manager_->status().cached_tokens, 1);
}

TEST_F(TokenManagerTest, TwoCallersMissingTheSameKey_FetchOnce) {
  const auto first = Ask();
  const auto second = Ask();
  EXPECT_EQ(minter_.mints(), 1);
  EXPECT_EQ(manager_->status().flights, 1);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(first->value(), "t1");
  EXPECT_EQ(second->value(), "t1");
  EXPECT_EQ(manager_->status().flights, 0);
}

TEST_F(TokenManagerTest, FirstCallersDeadlinePasses_TheFlightGoesOnForTheOthers) {
  const BootTime soon = clock_.Boot() + absl::Seconds(1);
  const auto hasty = Ask(TokenRequest{.registration_id = "r1"}, soon);
  const auto patient = Ask(TokenRequest{.registration_id = "r1"}, clock_.Boot() + absl::Minutes(1));
  scheduler_.Advance(absl::Seconds(2));
  EXPECT_EQ(hasty->reason(), Reason::kDeadlineExceeded);
  EXPECT_EQ(patient->answers, 0);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(patient->value(), "t1");
  EXPECT_EQ(hasty->answers, 1);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, EveryCallerGaveUp_TheTokenIsKeptForTheNext) {
  const auto hasty = Ask(TokenRequest{.registration_id = "r1"}, clock_.Boot() + absl::Seconds(1));
  scheduler_.Advance(absl::Seconds(2));
  minter_.Answer(Token("t1"));
  EXPECT_EQ(hasty->reason(), Reason::kDeadlineExceeded);
  EXPECT_EQ(Ask()->value(), "t1");
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, WaiterIsAnswered_LeavesNoTimerBehind) {
  const auto asked = Ask(TokenRequest{.registration_id = "r1"}, clock_.Boot() + absl::Hours(1));
  EXPECT_EQ(scheduler_.pending(), 1);
  minter_.Answer(Token("t1"));
  EXPECT_TRUE(asked->ok());
  manager_->Forget("r1");  // with the time at which the token would be replaced
  EXPECT_EQ(scheduler_.pending(), 0);
}

TEST_F(TokenManagerTest, WaiterCancels_IsToldAtOnceAndOthersAreNotDisturbed) {
  const auto first = Ask();
  const auto second = Ask();
  manager_->Cancel(first->id);
  EXPECT_EQ(first->reason(), Reason::kCancelled);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(second->value(), "t1");
  manager_->Cancel(second->id);  // too late, and harmless
  manager_->Cancel(12345);
  EXPECT_EQ(first->answers, 1);
  EXPECT_EQ(second->answers, 1);
}

TEST_F(TokenManagerTest, OtherScopeSets_AreOtherTokens) {
  const auto all = Ask("r1");
  const auto narrow = Ask("r1", {"patient/Observation.rs", "launch"});
  const auto same_in_other_order = Ask("r1", ParseScope("patient/Observation.rs launch launch"));
  EXPECT_EQ(minter_.mints(), 2);
  EXPECT_TRUE(minter_.calls()[0].scopes.empty());
  EXPECT_EQ(minter_.calls()[1].scopes, (ScopeSet{"launch", "patient/Observation.rs"}));
  minter_.Answer(Token("all"));
  minter_.Answer(Token("narrow"));
  EXPECT_EQ(all->value(), "all");
  EXPECT_EQ(narrow->value(), "narrow");
  EXPECT_EQ(same_in_other_order->value(), "narrow");
  EXPECT_EQ(Ask("r1", {"launch", "patient/Observation.rs"})->value(), "narrow");
  EXPECT_EQ(Ask("r1")->value(), "all");
}

TEST_F(TokenManagerTest, TwoRegistrations_NeverMixTheirTokens) {
  Add(MakeRegistration("r2"));
  const auto first = Ask("r1");
  const auto second = Ask("r2");
  minter_.Answer(Token("for r2"), 1);
  minter_.Answer(Token("for r1"));
  EXPECT_EQ(first->value(), "for r1");
  EXPECT_EQ(second->value(), "for r2");
  EXPECT_EQ(Ask("r1")->value(), "for r1");
  EXPECT_EQ(Ask("r2")->value(), "for r2");
}

TEST_F(TokenManagerTest, MoreValidityAskedThanIsLeft_FetchesAnew) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Minutes(20));
  const auto asked = Ask(TokenRequest{.registration_id = "r1", .min_valid = absl::Minutes(50)});
  EXPECT_EQ(asked->answers, 0);
  minter_.Answer(Token("t2"));
  EXPECT_EQ(asked->value(), "t2");
  EXPECT_TRUE(asked->result->min_valid_met);
}

TEST_F(TokenManagerTest, LessValidityAskedThanIsLeft_IsServedFromTheCache) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Minutes(20));
  const auto asked = Ask(TokenRequest{.registration_id = "r1", .min_valid = absl::Minutes(30)});
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_TRUE(asked->result->min_valid_met);
}

TEST_F(TokenManagerTest, MoreValidityAskedThanTheServerEverGives_DoesNotFetchAtEachCall) {
  const TokenRequest request{.registration_id = "r1", .min_valid = absl::Hours(2)};
  const auto first = Ask(request);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(first->value(), "t1");
  EXPECT_FALSE(first->result->min_valid_met);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(absl::Minutes(1));
    const auto again = Ask(request);
    EXPECT_EQ(again->value(), "t1");
    EXPECT_FALSE(again->result->min_valid_met);
  }
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, TokenIsWithinItsMargin_IsNotHandedOutWhileAnotherCanBeHad) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Hours(1) - absl::Seconds(59));
  const auto asked = Ask();
  EXPECT_EQ(asked->answers, 0);
  minter_.Answer(Token("t2"));
  EXPECT_EQ(asked->value(), "t2");
}

TEST_F(TokenManagerTest, RefreshTimeHasCome_ReturnsTheCachedOneAndFetchesInTheBackground) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Minutes(29));
  EXPECT_EQ(Ask()->value(), "t1");
  EXPECT_EQ(minter_.mints(), 1);  // not before half of its life

  clock_.Advance(absl::Minutes(12));  // past two thirds
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask()->value(), "t1");
  EXPECT_EQ(minter_.mints(), 2);
  minter_.Answer(Token("t2"));
  EXPECT_EQ(Ask()->value(), "t2");
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, NobodyAsks_NothingIsRefreshed) {
  Cache("t1", absl::Hours(1));
  scheduler_.Advance(absl::Hours(5));
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, TokenHasExpired_IsNeverServed) {
  Cache("t1", absl::Minutes(10));
  clock_.Advance(absl::Minutes(10));
  const auto asked = Ask();
  EXPECT_EQ(asked->answers, 0);
  minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
  EXPECT_EQ(asked->reason(), Reason::kServerUnreachable);
}

TEST_F(TokenManagerTest, WallClockIsSteppedBack_DoesNotExtendATokensLife) {
  Cache("t1", absl::Minutes(10));
  clock_.StepWall(-absl::Hours(24));
  clock_.Advance(absl::Minutes(11));
  EXPECT_EQ(Ask()->answers, 0);
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, WallClockIsSteppedForward_DoesNotShortenATokensLife) {
  Cache("t1", absl::Minutes(10));
  clock_.StepWall(absl::Hours(24));
  EXPECT_EQ(Ask()->value(), "t1");
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, TokenWithoutALifetime_IsDeliveredOnceAndNotKept) {
  const auto first = Ask();
  const auto second = Ask();
  minter_.Answer(Token("once", absl::ZeroDuration()));
  EXPECT_EQ(first->value(), "once");
  EXPECT_EQ(second->value(), "once");
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  EXPECT_EQ(Ask()->answers, 0);
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, RegistrationGivesNoTokens_SaysWhyEvenWithATokenInTheCache) {
  Cache("t1", absl::Hours(1));
  Change("r1", [](Registration& r) { r.suspension = Suspension(); });
  EXPECT_EQ(Ask()->reason(), Reason::kSuspended);
  Change("r1", [](Registration& r) { r.suspension.reset(); });
  const struct {
    GenerationState state;
    Reason reason;
  } rows[] = {{GenerationState::kMisconfigured, Reason::kMisconfigured},
              {GenerationState::kContextChanged, Reason::kContextChanged},
              {GenerationState::kOrphaned, Reason::kOrphaned},
              {GenerationState::kDeleting, Reason::kDeleting},
              {GenerationState::kVerifying, Reason::kNotReady}};
  for (const auto& row : rows) {
    Change("r1", [&](Registration& r) { r.generations[0].state = row.state; });
    EXPECT_EQ(Ask()->reason(), row.reason);
  }
  EXPECT_EQ(Ask("unknown")->reason(), Reason::kRegistrationNotFound);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, CallerIsKnown_HasItsTurnAtTheHardware) {
  Ask(TokenRequest{.registration_id = "r1", .caller = 4711});
  EXPECT_EQ(minter_.calls()[0].caller, 4711u);
}

TEST_F(TokenManagerTest, ForgottenDuringAFlight_ItsAnswerReachesNobodyAndIsNotKept) {
  Cache("t0", absl::Hours(1));
  const auto asked = Ask("r1", {"launch"});
  EXPECT_EQ(manager_->Forget("r1").size(), 1u);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  EXPECT_EQ(asked->reason(), Reason::kCancelled) << "waits for what it will not get";

  const auto later = Ask("r1", {"launch"});  // asked after it: a flight of its own
  EXPECT_EQ(minter_.mints(), 3);
  minter_.Answer(Token("old"));
  EXPECT_EQ(asked->answers, 1);
  EXPECT_EQ(later->answers, 0);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  minter_.Answer(Token("new"));
  EXPECT_EQ(later->value(), "new");
  EXPECT_EQ(Ask("r1", {"launch"})->value(), "new");
}

TEST_F(TokenManagerTest, SuspendedDuringAFlight_TheWaiterIsToldAndTheTokenDropped) {
  const auto asked = Ask();
  Change("r1", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  manager_->Forget("r1");
  EXPECT_EQ(asked->reason(), Reason::kSuspended);
  minter_.Answer(Token("secret"));
  EXPECT_EQ(asked->answers, 1);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
}

// A flight that starts between the record's change and Forget, or that Forget has just missed.
TEST_F(TokenManagerTest, SuspendedWithoutAForget_TheLandingTokenIsDroppedAllTheSame) {
  const auto asked = Ask();
  Change("r1", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  minter_.Answer(Token("secret"));
  EXPECT_EQ(asked->reason(), Reason::kSuspended);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  Change("r1", [](Registration& one) { one.suspension.reset(); });
  minter_.Script(Token("new"));
  EXPECT_EQ(Ask()->value(), "new") << "held back after a failure that was none of the server's";
}

TEST_F(TokenManagerTest, SuspendedBeforeItsFirstToken_NoneIsFetchedAndNoneIsKept) {
  Registration enrolling = MakeRegistration("r2");
  enrolling.generations[0].state = GenerationState::kVerifying;
  enrolling.generations[0].first_token_at = absl::InfinitePast();
  Add(enrolling);
  absl::Status told;
  const auto fetch = [&] {
    manager_->FetchFirstToken("r2", 1,
                              [&](absl::StatusOr<TokenResult> result) { told = result.status(); });
  };
  fetch();  // the answer is on its way
  Change("r2", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  minter_.Answer(Token("first"));
  EXPECT_EQ(manager_->status().cached_tokens, 0);

  Change("r2", [](Registration& one) {
    one.generations[0].first_token_at = absl::InfinitePast();
    one.generations[0].state = GenerationState::kVerifying;
  });
  const int mints = minter_.mints();
  fetch();
  EXPECT_EQ(ReasonOf(told), Reason::kSuspended);
  EXPECT_EQ(minter_.mints(), mints);
}

TEST_F(TokenManagerTest, FirstTokensOfMany_GoToTheServerSixteenAtATime) {
  std::vector<absl::Status> told;
  for (int i = 0; i < 20; ++i) {
    Registration enrolling = MakeRegistration(absl::StrCat("n", i));
    enrolling.generations[0].state = GenerationState::kVerifying;
    enrolling.generations[0].first_token_at = absl::InfinitePast();
    Add(enrolling);
    manager_->FetchFirstToken(enrolling.id, 1, [&](absl::StatusOr<TokenResult> result) {
      told.push_back(result.status());
    });
  }
  EXPECT_EQ(minter_.mints(), 16);
  Change("n16", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  minter_.Answer(Token("first"));
  // The seventeenth was suspended while it waited: it is told so, and the next has its turn.
  EXPECT_EQ(minter_.mints(), 17);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(ReasonOf(told[0]), Reason::kSuspended);
  EXPECT_TRUE(told[1].ok()) << told[1];
  for (int i = 1; i < 19; ++i) minter_.Answer(Token("first"));
  EXPECT_EQ(told.size(), 20u);
}

TEST_F(TokenManagerTest, ForgetOfOneRegistration_LeavesTheOthers) {
  Add(MakeRegistration("r2"));
  Cache("t2", absl::Hours(1), "r2");
  const auto asked = Ask("r2", {"launch"});
  manager_->Forget("r1");
  minter_.Answer(Token("narrow"));
  EXPECT_EQ(asked->value(), "narrow");
  EXPECT_EQ(Ask("r2")->value(), "t2");
}

TEST_F(TokenManagerTest, ManagerIsDestroyed_WaitersAreToldAndLateAnswersDoNoHarm) {
  const auto asked = Ask(TokenRequest{.registration_id = "r1"}, clock_.Boot() + absl::Hours(1));
  manager_.reset();
  EXPECT_EQ(asked->reason(), Reason::kShuttingDown);
  EXPECT_EQ(scheduler_.pending(), 0);
  minter_.Answer(Token("late"));
  EXPECT_EQ(asked->answers, 1);
}

// Renewal.

class TokenManagerRenewalTest : public TokenManagerTest {
 protected:
  void AddSecondGeneration() {
    Change("r1", [](Registration& r) {
      r.generations.push_back(MakeGeneration(2, GenerationState::kVerifying, false));
    });
  }
  std::shared_ptr<Asked> FetchFirstToken() {
    auto asked = std::make_shared<Asked>();
    manager_->FetchFirstToken("r1", 2, [asked](absl::StatusOr<TokenResult> result) {
      ++asked->answers;
      asked->result = std::move(result);
    });
    return asked;
  }
};

TEST_F(TokenManagerRenewalTest, FirstTokenOfTheNewGeneration_TakesOverAtOnce) {
  Cache("old", absl::Hours(1));
  AddSecondGeneration();
  EXPECT_EQ(Ask()->value(), "old");  // serves until then
  const auto first = FetchFirstToken();
  EXPECT_EQ(minter_.calls().back().generation, 2);
  EXPECT_EQ(Ask()->value(), "old");
  minter_.Answer(Token("new"));
  EXPECT_EQ(first->value(), "new");
  EXPECT_EQ(first->result->generation, 2);
  EXPECT_EQ(Ask()->value(), "new");
  EXPECT_EQ(manager_->status().cached_tokens, 1);
  EXPECT_EQ(store_.Find("r1")->generations.size(), 1u);
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerRenewalTest, FirstTokenNamesAnotherPatient_IsDroppedAndTheOldOneServes) {
  Cache("old", absl::Hours(1));
  AddSecondGeneration();
  const auto first = FetchFirstToken();
  minter_.Answer(minter_.Token("other", absl::Hours(1), "patient-2"));
  EXPECT_EQ(first->reason(), Reason::kContextChanged);
  EXPECT_EQ(Ask()->value(), "old");
  EXPECT_EQ(store_.Find("r1")->patient, Identifying("patient-1"));
}

TEST_F(TokenManagerRenewalTest, FirstTokenCannotBeSaved_IsNotUsed) {
  AddSecondGeneration();
  store_.FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  const auto first = FetchFirstToken();
  minter_.Answer(Token("new"));
  EXPECT_EQ(first->reason(), Reason::kStoreUnavailable);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
}

TEST_F(TokenManagerRenewalTest, RefusedWhileVerifying_CountsForNothingAndHoldsNobodyBack) {
  AddSecondGeneration();
  const auto first = FetchFirstToken();
  minter_.Answer(Refusal());
  EXPECT_EQ(first->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(Stored().state, GenerationState::kVerifying);
  EXPECT_EQ(Stored().refusals, 0);
  FetchFirstToken();
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerRenewalTest, SwapHappensDuringAFlight_ItsWaitersGetTheNewOnesToken) {
  AddSecondGeneration();
  const auto waiting = Ask();
  const auto narrow = Ask("r1", {"launch"});
  const auto first = FetchFirstToken();
  minter_.Answer(Token("new"), 2);
  ASSERT_TRUE(first->ok());
  EXPECT_EQ(waiting->answers, 0);

  // The old key is gone by now: what was under way with it fails, or comes too late.
  minter_.Answer(MakeError(Reason::kKeyGone, "destroyed"));
  EXPECT_EQ(waiting->value(), "new");
  EXPECT_EQ(waiting->result->generation, 2);
  minter_.Answer(Token("narrow, of the old client"));
  EXPECT_EQ(narrow->answers, 0);
  EXPECT_EQ(minter_.calls().back().generation, 2);
  EXPECT_EQ(minter_.calls().back().scopes, ScopeSet{"launch"});
  minter_.Answer(Token("narrow"));
  EXPECT_EQ(narrow->value(), "narrow");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerRenewalTest, ServerIsBusy_TheFirstTokenWaitsToo) {
  AddSecondGeneration();
  const auto asked = Ask();
  minter_.Answer(WithRetryAfter(MakeError(Reason::kServerBusy, "busy"), absl::Minutes(2)));
  EXPECT_EQ(asked->reason(), Reason::kServerBusy);
  const auto first = FetchFirstToken();
  EXPECT_EQ(first->reason(), Reason::kServerBusy);
  EXPECT_EQ(minter_.mints(), 1);
  clock_.Advance(absl::Minutes(3));
  FetchFirstToken();
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerRenewalTest, ServerIsBusyAtTheFirstToken_OthersAreHeldToo) {
  AddSecondGeneration();
  Add(MakeRegistration("r2"));
  const auto first = FetchFirstToken();
  minter_.Answer(WithRetryAfter(MakeError(Reason::kServerBusy, "busy"), absl::Minutes(2)));
  EXPECT_EQ(first->reason(), Reason::kServerBusy);
  EXPECT_EQ(Ask("r2")->reason(), Reason::kServerBusy);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerRenewalTest, GenerationIsUnknown_IsNotFound) {
  EXPECT_EQ(FetchFirstToken()->reason(), Reason::kRegistrationNotFound);
}

}  // namespace
}  // namespace smartkey
