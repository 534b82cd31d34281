// SPDX-License-Identifier: Apache-2.0
// What refusals mean over time: tried again by itself, held while the server refuses all, over
// restarts.
#include <memory>
#include <string>

#include "daemon/token/token_manager.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

absl::Duration RetryAfter(const std::shared_ptr<Asked>& asked) {
  return RetryAfterOf(asked->result.status()).value_or(-absl::Seconds(1));
}

class TokenRefusalTest : public TokenManagerTest {
 protected:
  void Refuse(const std::string& id = "r1") {
    const auto asked = Ask(id);
    ASSERT_TRUE(minter_.Answer(Refusal())) << id;
    ASSERT_FALSE(asked->ok());
  }
  void RefuseAllFor(absl::Duration time) {
    for (; time > absl::ZeroDuration(); time -= absl::Minutes(1)) {
      scheduler_.Advance(absl::Minutes(1));
      while (minter_.Answer(Refusal())) {
      }
    }
  }
  // A new process that finds the record.
  void Restart() {
    manager_ = std::make_unique<TokenManager>(catalog_, store_, minter_, scheduler_, clock_);
    manager_->Recover();
  }
};

TEST_F(TokenRefusalTest, Refused_TheErrorSaysBothHalves) {
  const auto asked = Ask();
  minter_.Answer(Refusal());
  EXPECT_EQ(RemedyOf(asked->result.status())
                .find("if you removed this app in the portal: renew; otherwise wait, next try "),
            0u);
  const auto held = Ask();
  EXPECT_EQ(RemedyOf(held->result.status()), RemedyOf(asked->result.status()));
}

TEST_F(TokenRefusalTest, Restarted_TheNextAttemptIsWhereItWas) {
  Refuse();
  const absl::Duration before = RetryAfter(Ask());
  Restart();
  const auto held = Ask();
  EXPECT_EQ(held->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(RetryAfter(held), before);
  EXPECT_EQ(minter_.mints(), 1);
  clock_.Advance(absl::Minutes(6));
  const auto later = Ask();
  minter_.Answer(Token("t1"));
  EXPECT_EQ(later->value(), "t1");
}

TEST_F(TokenRefusalTest, NobodyAsks_IsTriedAgainByItselfUntilItWorks) {
  Refuse();
  scheduler_.Advance(absl::Minutes(4));
  EXPECT_EQ(minter_.mints(), 1);
  scheduler_.Advance(absl::Minutes(2));
  EXPECT_EQ(minter_.mints(), 2);
  minter_.Answer(Refusal());
  scheduler_.Advance(absl::Minutes(70));
  EXPECT_EQ(minter_.mints(), 3);
  minter_.Answer(Token("t1"));
  EXPECT_EQ(Stored().state, GenerationState::kActive);
  scheduler_.Advance(absl::Hours(48));
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(TokenRefusalTest, NobodyAsksForDays_NeedsItsPersonAndIsTriedOnceADay) {
  Refuse();
  for (int hours = 0; hours < 24 * 5; ++hours) {
    scheduler_.Advance(absl::Hours(1));
    minter_.Answer(Refusal());
    if (hours != 28) continue;
    EXPECT_EQ(Stored().state, GenerationState::kReauthRequired);
  }
  const int after_days = minter_.mints();
  EXPECT_LE(after_days, 2 + 30 + 5);
  scheduler_.Advance(absl::Hours(28));
  EXPECT_EQ(minter_.mints(), after_days + 1);
  minter_.Answer(Token("t1"));  // the server has changed its mind
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

TEST_F(TokenRefusalTest, TryMeetsADeadServer_TheTryingGoesOn) {
  Refuse();
  scheduler_.Advance(absl::Minutes(6));
  ASSERT_TRUE(minter_.Answer(MakeError(Reason::kServerUnreachable, "down")));
  scheduler_.Advance(absl::Minutes(6));
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(TokenRefusalTest, Restarted_TheTryingGoesOn) {
  Refuse();
  Restart();
  scheduler_.Advance(absl::Minutes(8));
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenRefusalTest, SuspendedMeanwhile_IsNotTriedAndGoesOnLater) {
  Refuse();
  Change("r1", [](Registration& r) { r.suspension = Suspension{.by_uid = 1000}; });
  scheduler_.Advance(absl::Hours(3));
  EXPECT_EQ(minter_.mints(), 1);
  Change("r1", [](Registration& r) { r.suspension.reset(); });
  scheduler_.Advance(absl::Hours(1));
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenRefusalTest, TwoOfAServerAreRefused_NeitherIsBlamedUntilItRecovers) {
  Add(MakeRegistration("r2"));
  Refuse("r1");
  const auto second = Ask("r2");
  minter_.Answer(Refusal());
  EXPECT_EQ(second->reason(), Reason::kServerRefusingAll);
  EXPECT_EQ(Ask("r1")->reason(), Reason::kServerRefusingAll);
  RefuseAllFor(absl::Hours(40));
  EXPECT_EQ(Stored("r1").state, GenerationState::kSuspect);
  EXPECT_EQ(Stored("r2").state, GenerationState::kSuspect);
  EXPECT_GE(Stored("r1").refusals, 6);

  // It recovers for one of them: from then on the other is alone, and has been refused for long.
  while (!minter_.Answer(Token("t"))) scheduler_.Advance(absl::Minutes(1));
  RefuseAllFor(absl::Hours(2));
  const int blamed = (Stored("r1").state == GenerationState::kReauthRequired) +
                     (Stored("r2").state == GenerationState::kReauthRequired);
  EXPECT_EQ(blamed, 1);
}

TEST_F(TokenRefusalTest, ServerRefusesAllAndTheMachineIsOffForANight_NobodyIsBlamedInTheMorning) {
  Add(MakeRegistration("r2"));
  Refuse("r1");
  Ask("r2");
  minter_.Answer(Refusal());
  RefuseAllFor(absl::Hours(26));
  manager_.reset();
  clock_.Advance(absl::Hours(9));
  Restart();
  RefuseAllFor(absl::Hours(3));
  EXPECT_EQ(Stored("r1").state, GenerationState::kSuspect);
  EXPECT_EQ(Stored("r2").state, GenerationState::kSuspect);
}

TEST_F(TokenRefusalTest, OthersOfAnotherServerAreRefused_IsNoExcuse) {
  Add(MakeRegistration("r2", "https://other.example/token"));
  Refuse("r1");
  Refuse("r2");
  EXPECT_EQ(Ask("r1")->reason(), Reason::kRefusedByServer);
}

TEST_F(TokenRefusalTest, DiskIsFull_IsHeldBackAllTheSame) {
  store_.FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  Refuse();
  EXPECT_EQ(Ask()->reason(), Reason::kRefusedByServer);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenRefusalTest, WorksAgainButTheDiskIsFull_IsTriedUntilThatIsWrittenDown) {
  Refuse();
  scheduler_.Advance(absl::Minutes(6));
  store_.FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  ASSERT_TRUE(minter_.Answer(Token("t1")));
  EXPECT_EQ(Stored().state, GenerationState::kSuspect);
  store_.FailWrites(absl::OkStatus());
  scheduler_.Advance(absl::Hours(1));
  ASSERT_TRUE(minter_.Answer(Token("t2")));
  EXPECT_EQ(Stored().state, GenerationState::kActive);
}

// The server in the configuration.

TEST_F(TokenRefusalTest, ServerWasRemoved_GivesNoTokenNotEvenACachedOneAndAllWhenItIsBack) {
  Cache("t1", absl::Hours(1));
  catalog_.Set(Catalog());
  EXPECT_EQ(Ask()->reason(), Reason::kServerRemoved);
  EXPECT_EQ(minter_.mints(), 1);
  catalog_.Set(MakeCatalog());
  EXPECT_EQ(Ask()->value(), "t1");
}

TEST_F(TokenRefusalTest, ServerWasRenamed_ChangesNothing) {
  Cache("t1", absl::Hours(1));
  Catalog renamed = MakeCatalog();
  renamed.servers[0].name = "mercy-hospital";
  catalog_.Set(renamed);
  EXPECT_EQ(Ask()->value(), "t1");
}

TEST_F(TokenRefusalTest, ServerWasRemovedWhileRefused_IsNotTriedUntilItIsBack) {
  Refuse();
  catalog_.Set(Catalog());
  scheduler_.Advance(absl::Hours(3));
  EXPECT_EQ(minter_.mints(), 1);
  catalog_.Set(MakeCatalog());
  scheduler_.Advance(absl::Hours(1));
  EXPECT_EQ(minter_.mints(), 2);
}

// Renewals for another patient.

class NewPatientTest : public TokenRefusalTest {
 protected:
  void AddRenewal(bool accepts_new_patient) {
    Change("r1", [&](Registration& r) {
      r.generations.push_back(MakeGeneration(2, GenerationState::kVerifying, false));
      r.generations.back().accepts_new_patient = accepts_new_patient;
    });
  }
  Reason FetchFirstToken(AccessToken token, size_t index = 0) {
    Reason reason = Reason::kInternal;
    manager_->FetchFirstToken(
        "r1", 2, [&](absl::StatusOr<TokenResult> result) { reason = ReasonOf(result.status()); });
    minter_.Answer(std::move(token), index);
    return reason;
  }
};

TEST_F(NewPatientTest, RenewalNamesAnother_ItIsWrittenDownAndTheOldOneServes) {
  Cache("old", absl::Hours(1));
  AddRenewal(false);
  EXPECT_EQ(FetchFirstToken(minter_.Token("other", absl::Hours(1), "patient-2")),
            Reason::kContextChanged);
  EXPECT_EQ(Stored().state, GenerationState::kContextChanged);
  EXPECT_EQ(Stored().patient, Identifying("patient-2"));
  EXPECT_EQ(store_.Find("r1")->state(), GenerationState::kContextChanged);
  EXPECT_EQ(Ask()->value(), "old");
}

TEST_F(NewPatientTest, NewPatientIsAccepted_TakesOverAndWhoAskedBeforeGetsNothingOfIt) {
  Cache("old", absl::Hours(1));
  AddRenewal(true);
  const auto waiting = Ask("r1", {"launch"});
  EXPECT_EQ(FetchFirstToken(minter_.Token("new", absl::Hours(1), "patient-2"), 1),
            Reason::kUnspecified);
  EXPECT_EQ(store_.Find("r1")->patient, Identifying("patient-2"));
  minter_.Answer(Token("late, of the old patient"));
  EXPECT_EQ(waiting->reason(), Reason::kCancelled);
  EXPECT_EQ(Ask()->value(), "new");
}

TEST_F(TokenRefusalTest, BusyServerHoldsRefusedOnes_TheyComeLaterAndNotAllAtOnce) {
  for (const char* id : {"r2", "r3", "r4"}) {
    Add(MakeRegistration(id));
    Refuse(id);
  }
  Refuse("r1");
  scheduler_.Advance(absl::Minutes(4));
  const auto busy = [] {
    return WithRetryAfter(MakeError(Reason::kServerBusy, "status 503"),
                          absl::Minutes(20) + absl::Microseconds(300));
  };
  const auto asked = Ask("r1", {"launch"});
  // Whoever comes first is told; the others find the server held.
  for (int minute = 0; minute < 6; ++minute) {
    scheduler_.Advance(absl::Minutes(1));
    while (minter_.Answer(busy())) {
    }
  }
  const int mints = minter_.mints();
  for (int second = 0; minter_.mints() == mints && second < 3600; ++second) {
    scheduler_.Advance(absl::Seconds(1));
  }
  EXPECT_GT(minter_.mints(), mints);
  EXPECT_LT(minter_.mints() - mints, 4) << "all in the moment in which the server lets go";
  RefuseAllFor(absl::Minutes(10));
  EXPECT_GT(minter_.mints(), mints);
}

}  // namespace
}  // namespace smartkey
