// SPDX-License-Identifier: Apache-2.0
// What failures mean: for callers, for the next attempt, for the record.
#include <memory>
#include <string>

#include "daemon/token/token_manager.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

absl::Status Busy(absl::Duration retry_after) {
  return WithRetryAfter(MakeError(Reason::kServerBusy, "the server answered status 503"),
                        retry_after);
}

absl::Duration RetryAfter(const std::shared_ptr<Asked>& asked) {
  return RetryAfterOf(asked->result.status()).value_or(-absl::Seconds(1));
}

TEST_F(TokenManagerTest, EverNewScopeSetsSoonRunOutOfBudgetAndHoldNobodyElseBack) {
  const auto ask = [this](std::string id, int i) {
    return Ask(TokenRequest{.registration_id = id, .scopes = {absl::StrCat("scope", i)}});
  };
  for (int i = 0; i < 30; ++i) {
    ask("r1", i);
    ask("r1", i);  // joins the first
    minter_.Answer(Token("t"));
  }
  EXPECT_EQ(minter_.mints(), 30);
  const auto refused = ask("r1", 30);
  EXPECT_EQ(refused->reason(), Reason::kRateLimited);
  EXPECT_EQ(minter_.mints(), 30);
  scheduler_.Advance(absl::Seconds(2));
  ask("r1", 31);
  EXPECT_EQ(minter_.mints(), 31);
}

TEST_F(TokenManagerTest, AGranteeUsesUpHisBudget_TheOwnerAndRefreshesHaveTheirs) {
  Cache("t1", absl::Hours(1));
  Ask();  // in use
  for (int i = 0; i < 30; ++i) {
    Ask(TokenRequest{.registration_id = "r1", .scopes = {absl::StrCat("s", i)}, .caller = 1001});
    minter_.Answer(Token("t"));
  }
  const auto grantees =
      Ask(TokenRequest{.registration_id = "r1", .scopes = {"another"}, .caller = 1001});
  EXPECT_EQ(grantees->reason(), Reason::kRateLimited);
  const auto owners =
      Ask(TokenRequest{.registration_id = "r1", .scopes = {"another"}, .caller = 1000});
  minter_.Answer(Token("owner's"));
  EXPECT_EQ(owners->value(), "owner's");
  scheduler_.Advance(absl::Minutes(41));
  EXPECT_GE(minter_.mints(), 33);  // the refresh of what is in use
}

TEST_F(TokenManagerTest, RefreshFailsWhileTheTokenIsGood_ReturnsItMarked) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Hours(1) - absl::Seconds(30));  // within the margin
  const auto asked = Ask();
  EXPECT_EQ(asked->answers, 0);
  minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_EQ(asked->source(), TokenSource::kStaleValid);
  EXPECT_EQ(ReasonOf(asked->result->refresh_error), Reason::kServerUnreachable);

  // While the next attempt is held back: the same, without a request.
  const auto again = Ask();
  EXPECT_EQ(again->value(), "t1");
  EXPECT_EQ(again->source(), TokenSource::kStaleValid);
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, BackgroundRefreshFails_TheCachedOneGoesOnAndAttemptsAreSpaced) {
  Cache("t1", absl::Hours(1));
  clock_.Advance(absl::Minutes(41));
  EXPECT_EQ(Ask()->source(), TokenSource::kCache);
  minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
  for (int i = 0; i < 50; ++i) {
    const auto asked = Ask();
    EXPECT_EQ(asked->value(), "t1");
    EXPECT_EQ(asked->source(), TokenSource::kStaleValid);
    EXPECT_EQ(ReasonOf(asked->result->refresh_error), Reason::kServerUnreachable);
  }
  EXPECT_EQ(minter_.mints(), 2);
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(Ask()->source(), TokenSource::kCache);
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(TokenManagerTest, ServerIsDown_AttemptsComeWithGrowingGapsAndCallersAreToldWhen) {
  for (const int seconds : {1, 2, 4, 8, 16}) {
    const int before = minter_.mints();
    const auto asked = Ask();
    minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
    EXPECT_EQ(asked->reason(), Reason::kServerUnreachable);
    EXPECT_GE(RetryAfter(asked), absl::Seconds(seconds) * 0.79);
    EXPECT_LE(RetryAfter(asked), absl::Seconds(seconds) * 1.21);
    clock_.Advance(absl::Seconds(seconds) * 0.7);
    const auto held = Ask();
    EXPECT_EQ(held->reason(), Reason::kServerUnreachable);
    EXPECT_LT(RetryAfter(held), RetryAfter(asked));
    EXPECT_EQ(minter_.mints(), before + 1);
    clock_.Advance(absl::Seconds(seconds) * 0.6);
  }
  const auto recovered = Ask();
  minter_.Answer(Token("t1"));
  EXPECT_EQ(recovered->value(), "t1");
}

TEST_F(TokenManagerTest, ServerWasDownAndRecovers_TheNextFailureBeginsWithAShortWait) {
  for (int i = 0; i < 6; ++i) {
    Ask();
    minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
    clock_.Advance(absl::Minutes(6));
  }
  Ask();
  minter_.Answer(Token("t1", absl::Minutes(1)));
  clock_.Advance(absl::Minutes(2));
  const auto asked = Ask();
  minter_.Answer(MakeError(Reason::kServerUnreachable, "down"));
  EXPECT_LT(RetryAfter(asked), absl::Seconds(2));
}

TEST_F(TokenManagerTest, ServerAsksForTime_NobodyAsksItBeforeButOtherServersAreAsked) {
  Add(MakeRegistration("r2"));
  Add(MakeRegistration("r3", "https://other.example/token"));
  Ask("r1");
  minter_.Answer(Busy(absl::Minutes(10)));

  const auto same_server = Ask("r2");
  EXPECT_EQ(same_server->reason(), Reason::kServerBusy);
  EXPECT_EQ(RetryAfter(same_server), absl::Minutes(10));
  EXPECT_EQ(Ask("r1", {"launch"})->reason(), Reason::kServerBusy);
  EXPECT_EQ(minter_.mints(), 1);

  const auto other_server = Ask("r3");
  EXPECT_EQ(minter_.mints(), 2);
  minter_.Answer(Token("t3"));
  EXPECT_EQ(other_server->value(), "t3");

  clock_.Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_EQ(Ask("r2")->reason(), Reason::kServerBusy);
  clock_.Advance(absl::Seconds(2));
  const auto after = Ask("r2");
  minter_.Answer(Token("t2"));
  EXPECT_EQ(after->value(), "t2");
}

TEST_F(TokenManagerTest, ServerAsksForTimeWithoutSayingHowMuch_GetsSome) {
  Ask();
  minter_.Answer(MakeError(Reason::kServerBusy, "status 429"));
  clock_.Advance(absl::Seconds(4));
  EXPECT_EQ(Ask()->reason(), Reason::kServerBusy);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, AnswerThatWasUnderWay_DoesNotEndTheTimeTheServerAskedFor) {
  Add(MakeRegistration("r2"));
  Add(MakeRegistration("r3"));
  Ask("r1");
  const auto lucky = Ask("r2");
  minter_.Answer(Busy(absl::Minutes(10)));
  minter_.Answer(Token("t2"));
  EXPECT_EQ(lucky->value(), "t2");
  EXPECT_EQ(Ask("r3")->reason(), Reason::kServerBusy);
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, ManyRequestsMeetABusyServerTogether_CountAsOneFailure) {
  for (int i = 2; i <= 12; ++i) Add(MakeRegistration(absl::StrCat("r", i)));
  for (int i = 1; i <= 12; ++i) Ask(absl::StrCat("r", i));
  while (minter_.Answer(Busy(absl::Seconds(5)))) {
  }
  const auto held = Ask("r1");
  EXPECT_LE(RetryAfter(held), absl::Seconds(5));
  EXPECT_GT(RetryAfter(held), absl::Seconds(3));
}

TEST_F(TokenManagerTest, Refused_IsSuspectInTheRecordAndAskedAgainSlowly) {
  const auto asked = Ask();
  minter_.Answer(Refusal());
  EXPECT_EQ(asked->reason(), Reason::kRefusedByServer);
  EXPECT_GT(RetryAfter(asked), absl::Minutes(4));
  EXPECT_LT(RetryAfter(asked), absl::Minutes(6));
  EXPECT_EQ(Stored().state, GenerationState::kSuspect);
  EXPECT_EQ(Stored().refusals, 1);

  EXPECT_EQ(Ask()->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(minter_.mints(), 1);
  clock_.Advance(absl::Minutes(6));
  const auto second = Ask();
  minter_.Answer(Refusal());
  EXPECT_GT(RetryAfter(second), absl::Minutes(50));
  EXPECT_EQ(Stored().refusals, 2);
}

TEST_F(TokenManagerTest, Refused_OtherScopesOfTheSameClientAreHeldToo) {
  Ask();
  minter_.Answer(Refusal());
  EXPECT_EQ(Ask("r1", {"launch"})->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(Ask("r1", {"launch", "openid"})->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(minter_.mints(), 1);
  EXPECT_EQ(Stored().refusals, 1);
}

TEST_F(TokenManagerTest, RefusedOnceThenFine_IsActiveAgain) {
  Ask();
  minter_.Answer(Refusal());
  clock_.Advance(absl::Minutes(6));
  const auto asked = Ask();
  minter_.Answer(Token("t1"));
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
  EXPECT_EQ(Stored().refusals, 0);
}

TEST_F(TokenManagerTest, RefusedForADay_NeedsItsPersonDropsItsTokensAndIsTriedOnceADay) {
  Cache("t0", absl::Hours(60));  // not to be refreshed within the day
  std::shared_ptr<Asked> last;
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(Ask()->value(), "t0") << i;  // refusals alone drop nothing
    last = Ask("r1", {"launch"});
    minter_.Answer(Refusal());
    EXPECT_EQ(last->reason(), i < 6 ? Reason::kRefusedByServer : Reason::kReauthRequired) << i;
    if (i < 6) clock_.Advance(absl::Hours(4) + absl::Minutes(1));
  }
  EXPECT_EQ(Stored().state, GenerationState::kReauthRequired);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  EXPECT_GT(RetryAfter(last), absl::Hours(20));

  const auto held = Ask();
  EXPECT_EQ(held->reason(), Reason::kReauthRequired);
  EXPECT_EQ(UserActionOf(held->result.status()), UserAction::kRenew);
  const int before = minter_.mints();
  clock_.Advance(absl::Hours(12));
  Ask();
  EXPECT_EQ(minter_.mints(), before);
  clock_.Advance(absl::Hours(15));
  const auto daily = Ask();
  EXPECT_EQ(minter_.mints(), before + 1);
  minter_.Answer(Refusal());
  EXPECT_EQ(daily->reason(), Reason::kReauthRequired);

  clock_.Advance(absl::Hours(27));
  const auto restored = Ask();
  minter_.Answer(Token("back"));
  EXPECT_EQ(restored->value(), "back");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerTest, ClientIsMisconfigured_IsNotTriedAgain) {
  const auto asked = Ask();
  minter_.Answer(MakeError(Reason::kMisconfigured, "unauthorized_client"));
  EXPECT_EQ(asked->reason(), Reason::kMisconfigured);
  EXPECT_EQ(Stored().state, GenerationState::kMisconfigured);
  clock_.Advance(absl::Hours(48));
  EXPECT_EQ(Ask()->reason(), Reason::kMisconfigured);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, ScopeIsInvalid_ReachesOnlyThatCallerAndChangesNothing) {
  const auto wrong = Ask("r1", {"patient/*.nonsense"});
  const auto right = Ask("r1");
  minter_.Answer(MakeError(Reason::kInvalidScope, "invalid_scope"));
  minter_.Answer(Token("t1"));
  EXPECT_EQ(wrong->reason(), Reason::kInvalidScope);
  EXPECT_EQ(right->value(), "t1");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerTest, HardwareIsAbsent_CachedTokensGoOnAndTheNextCallTriesAgain) {
  Cache("t1", absl::Hours(1));
  const auto other = Ask("r1", {"launch"});
  minter_.Answer(MakeError(Reason::kHardwareAbsent, "unplugged"));
  EXPECT_EQ(other->reason(), Reason::kHardwareAbsent);
  EXPECT_EQ(Ask()->value(), "t1");
  const auto back = Ask("r1", {"launch"});
  minter_.Answer(Token("t2"));
  EXPECT_EQ(back->value(), "t2");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerTest, KeyIsGone_IsSaidInTheRecordAndOthersWork) {
  Add(MakeRegistration("r2"));
  const auto asked = Ask("r1");
  minter_.Answer(MakeError(Reason::kKeyLostTpmCleared, "cleared"));
  EXPECT_EQ(asked->reason(), Reason::kKeyLostTpmCleared);
  EXPECT_EQ(Ask("r1")->reason(), Reason::kKeyLostTpmCleared);
  EXPECT_EQ(minter_.mints(), 1);
  Ask("r2");
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenManagerTest, LostKeyIsBack_IsFoundAtTheNextRequestAndTheRecordSaysSo) {
  const auto lost = Ask("r1");
  minter_.Answer(MakeError(Reason::kKeyLostOtherMachine, "another chip"));
  EXPECT_EQ(lost->reason(), Reason::kKeyLostOtherMachine);
  EXPECT_EQ(Stored().state, GenerationState::kKeyLost);
  // Not at every request: looking for it costs the hardware's time.
  EXPECT_EQ(Ask("r1")->reason(), Reason::kKeyLostOtherMachine);
  EXPECT_EQ(minter_.mints(), 1);
  scheduler_.Advance(absl::Seconds(2));
  const auto back = Ask("r1");
  minter_.Answer(Token("t1"));
  EXPECT_EQ(back->value(), "t1");
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenManagerTest, LostKeyAndNobodyAsks_IsLookedForOnceADay) {
  const auto lost = Ask("r1");
  minter_.Answer(MakeError(Reason::kKeyGone, "gone"));
  EXPECT_EQ(lost->reason(), Reason::kKeyGone);
  scheduler_.Advance(absl::Hours(23));
  EXPECT_EQ(minter_.mints(), 1);
  scheduler_.Advance(absl::Hours(2));
  EXPECT_EQ(minter_.mints(), 2);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

// Patient safety.

TEST_F(TokenManagerTest, TokenNamesAnotherPatient_IsDroppedWithAllOthersAndTheRecordSaysSo) {
  Cache("t1", absl::Hours(1));
  const auto asked = Ask("r1", {"launch"});
  minter_.Answer(minter_.Token("for another", absl::Hours(1), "patient-2"));
  EXPECT_EQ(asked->reason(), Reason::kContextChanged);
  EXPECT_EQ(Stored().state, GenerationState::kContextChanged);
  EXPECT_EQ(store_.Find("r1")->patient, Identifying("patient-1"));
  EXPECT_EQ(Stored().patient, Identifying("patient-2"));  // for the owner to see
  EXPECT_EQ(manager_->status().cached_tokens, 0);
  EXPECT_EQ(Ask()->reason(), Reason::kContextChanged);
  EXPECT_EQ(asked->result.status().ToString().find("patient-"), std::string::npos);
}

TEST_F(TokenManagerTest, ContextChangesWhileAnotherAnswerIsUnderWay_ThatOneIsNotUsedEither) {
  const auto first = Ask("r1");
  const auto second = Ask("r1", {"launch"});
  minter_.Answer(minter_.Token("for another", absl::Hours(1), "patient-2"));
  minter_.Answer(Token("late"));
  EXPECT_EQ(first->reason(), Reason::kContextChanged);
  EXPECT_EQ(second->reason(), Reason::kContextChanged);
  EXPECT_EQ(Stored().state, GenerationState::kContextChanged);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
}

TEST_F(TokenManagerTest, PatientIsNamedForTheFirstTime_IsDurableBeforeTheTokenIsDelivered) {
  Change("r1", [](Registration& r) { r.patient = Identifying(); });
  const auto asked = Ask();
  store_.Hold();
  minter_.Answer(minter_.Token("t1", absl::Hours(1), "patient-9"));
  EXPECT_EQ(asked->answers, 0);
  store_.Release();
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_EQ(store_.Find("r1")->patient, Identifying("patient-9"));
}

TEST_F(TokenManagerTest, PatientCannotBePinned_TheTokenIsNotDelivered) {
  Change("r1", [](Registration& r) { r.patient = Identifying(); });
  const auto asked = Ask();
  store_.FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  minter_.Answer(minter_.Token("t1", absl::Hours(1), "patient-9"));
  EXPECT_EQ(asked->reason(), Reason::kStoreUnavailable);
  EXPECT_EQ(manager_->status().cached_tokens, 0);
}

TEST_F(TokenManagerTest, TwoFirstAnswersNameDifferentPatients_OnlyOneIsDelivered) {
  Change("r1", [](Registration& r) { r.patient = Identifying(); });
  const auto first = Ask("r1");
  const auto second = Ask("r1", {"launch"});
  store_.Hold();  // both are compared with a record that pins nobody yet
  minter_.Answer(minter_.Token("a", absl::Hours(1), "patient-a"));
  minter_.Answer(minter_.Token("b", absl::Hours(1), "patient-b"));
  store_.Release();
  EXPECT_EQ(first->value(), "a");
  EXPECT_EQ(second->reason(), Reason::kContextChanged);
  EXPECT_EQ(store_.Find("r1")->patient, Identifying("patient-a"));
}

TEST_F(TokenManagerTest, OnlyTheTimeOfUseCannotBeSaved_TheTokenIsDelivered) {
  store_.FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  const auto asked = Ask();
  minter_.Answer(Token("t1"));
  EXPECT_EQ(asked->value(), "t1");
  EXPECT_EQ(Ask()->value(), "t1");
}

TEST_F(TokenManagerTest, TokensComeOften_TheirTimeIsNotWrittenEachTime) {
  Cache("t1", absl::Seconds(30));
  const int writes = store_.writes();
  EXPECT_EQ(Stored().last_token_at, clock_.Now());
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(absl::Seconds(31));
    Cache("t", absl::Seconds(30));
  }
  EXPECT_EQ(store_.writes(), writes);
  clock_.Advance(absl::Minutes(11));
  Cache("t", absl::Seconds(30));
  EXPECT_EQ(store_.writes(), writes + 1);
}

TEST_F(TokenManagerTest, DeletedDuringAFlight_NothingIsDeliveredAndTheDeletionStands) {
  const auto asked = Ask();
  Change("r1", [](Registration& r) { r.generations[0].state = GenerationState::kDeleting; });
  minter_.Answer(MakeError(Reason::kKeyGone, "destroyed"));
  EXPECT_FALSE(asked->result.ok());
  EXPECT_EQ(Stored().state, GenerationState::kDeleting);
  Change("r1", [](Registration& r) { r.generations[0].state = GenerationState::kActive; });
  scheduler_.Advance(absl::Seconds(2));
  const auto second = Ask("r1", {"launch"});
  Change("r1", [](Registration& r) { r.generations[0].state = GenerationState::kDeleting; });
  minter_.Answer(Token("late"));
  EXPECT_EQ(second->reason(), Reason::kDeleting);
}

TEST_F(TokenManagerTest, Status_ShowsEachServersLastSuccessErrorAndNextAttempt) {
  Add(MakeRegistration("r3", "https://other.example/token"));
  Cache("t1", absl::Hours(1));
  Ask("r3");
  minter_.Answer(Busy(absl::Minutes(10)));
  const TokenManagerStatus status = manager_->status();
  ASSERT_EQ(status.servers.size(), 2u);
  EXPECT_EQ(status.servers[0].token_endpoint, kEndpoint);
  EXPECT_EQ(status.servers[0].last_success, clock_.Now());
  EXPECT_TRUE(status.servers[0].last_error.ok());
  EXPECT_EQ(ReasonOf(status.servers[1].last_error), Reason::kServerBusy);
  EXPECT_EQ(status.servers[1].next_attempt, clock_.Now() + absl::Minutes(10));
  EXPECT_EQ(status.mints, 1u);
  EXPECT_EQ(status.failures, 1u);
}

}  // namespace
}  // namespace smartkey
