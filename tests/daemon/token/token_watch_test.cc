// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_watch.h"

#include "absl/strings/str_cat.h"
#include "tests/daemon/token/token_fixture.h"
#include "tests/fakes/fake_audit_log.h"

namespace smartkey {
namespace {

class TokenWatchTest : public TokenManagerTest {
 protected:
  void SetUp() override { watch_ = Watch({.registration_id = "r1"}); }
  void TearDown() override { watch_ = nullptr; }

  std::shared_ptr<TokenWatch> Watch(TokenRequest request) {
    Caller alice;
    alice.uid = 1000;
    alice.user_name = "alice";
    const TokenWatch::Parts parts{access_, feed_, *manager_, scheduler_, clock_};
    auto watch = TokenWatch::Start(parts, alice, std::move(request), [this] { ++wakes_; });
    EXPECT_TRUE(watch.ok()) << watch.status();
    return watch.ok() ? *watch : nullptr;
  }

  // "t1", "t1 SERVER_UNREACHABLE", "SERVER_BUSY"; "nothing"; "end ACCESS_ENDED".
  std::string Next(TokenWatch& watch) {
    absl::StatusOr<absl::optional<TokenState>> next = watch.Next();
    if (!next.ok()) return absl::StrCat("end ", ReasonName(ReasonOf(next.status())));
    if (!next->has_value()) return "nothing";
    const TokenState& state = **next;
    std::string words;
    if (state.token.has_value()) words = std::string(state.token->token->value.RevealSecret());
    if (!state.error.ok()) {
      absl::StrAppend(&words, words.empty() ? "" : " ", ReasonName(ReasonOf(state.error)));
    }
    return words;
  }
  std::string Next() { return Next(*watch_); }

  // What comes of it when time passes, and the watcher looks whenever he is woken.
  std::string NextWithin(absl::Duration time) {
    for (absl::Duration step = absl::Seconds(1); time > absl::ZeroDuration(); time -= step) {
      const int wakes = wakes_;
      scheduler_.Advance(step);
      if (wakes_ == wakes) continue;
      if (const std::string words = Next(); words != "nothing") return words;
    }
    return "nothing";
  }

  // A token whose renewal is due half an hour from now.
  AccessToken Hourly(std::string value) { return Token(std::move(value)); }
  static absl::Status Unreachable() {
    return MakeError(Reason::kServerUnreachable, "no connection");
  }

  CurrentCatalog catalog_{Catalog()};
  FakeAuditLog audit_;
  AccessPolicy access_{store_, catalog_, clock_, &audit_};
  RegistrationFeed feed_{store_, access_, scheduler_, clock_};
  int wakes_ = 0;
  std::shared_ptr<TokenWatch> watch_;
};

TEST_F(TokenWatchTest, NothingIsCached_TheFirstTokenIsToldWhenItComes) {
  EXPECT_EQ(Next(), "nothing");
  EXPECT_EQ(minter_.held(), 1u);
  minter_.Answer(Hourly("t1"));
  scheduler_.RunDue();
  EXPECT_GT(wakes_, 0);
  EXPECT_EQ(Next(), "t1");
  EXPECT_EQ(Next(), "nothing");
}

TEST_F(TokenWatchTest, OneIsCached_IsToldAtOnceWithoutARequest) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  EXPECT_EQ(Next(), "nothing");
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenWatchTest, RenewalIsDue_IsFetchedWithoutAnybodyAskingAndToldOnce) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  for (const std::string next : {"t2", "t3"}) {
    EXPECT_EQ(NextWithin(absl::Minutes(29)), "nothing");
    EXPECT_EQ(minter_.held(), 0u);
    EXPECT_EQ(NextWithin(absl::Minutes(12)), "nothing");  // between half and two thirds of an hour
    ASSERT_TRUE(minter_.Answer(Hourly(next)));
    EXPECT_EQ(NextWithin(absl::Seconds(1)), next);
  }
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(TokenWatchTest, SomebodyElsesRequestBroughtANewOne_IsTold) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  ASSERT_TRUE(manager_->ReportRejected("r1", 1000, Secret::CopyOf("t1")).ok());
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "nothing");
  minter_.Answer(Hourly("t2"));
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "t2");
  EXPECT_EQ(minter_.mints(), 2);
}

TEST_F(TokenWatchTest, RenewalFails_IsToldOnceBesideTheTokenAndAgainWhenThatIsOver) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  for (int i = 0; i < 100; ++i) minter_.Script(Unreachable());
  EXPECT_EQ(NextWithin(absl::Minutes(45)), "t1 SERVER_UNREACHABLE");
  EXPECT_EQ(NextWithin(absl::Minutes(30)), "SERVER_UNREACHABLE");  // it has expired meanwhile
  EXPECT_EQ(NextWithin(absl::Hours(1)), "nothing");
  EXPECT_LT(minter_.mints(), 40) << "the gate, not the watch, says when another try makes sense";
}

TEST_F(TokenWatchTest, ServerComesBack_TheNextTokenIsTold) {
  minter_.Script(Unreachable());
  EXPECT_EQ(Next(), "SERVER_UNREACHABLE");
  minter_.Script(Hourly("t1"));
  EXPECT_EQ(NextWithin(absl::Minutes(1)), "t1");
}

TEST_F(TokenWatchTest, NothingCanBeWrittenDownForAWhile_IsToldWhyAndTheTokenAfterwards) {
  Cache("t1", absl::Hours(1));
  audit_.set_writable(WithRetryAfter(MakeError(Reason::kRateLimited, "enough"), absl::Seconds(40)));
  EXPECT_EQ(Next(), "RATE_LIMITED");
  EXPECT_EQ(NextWithin(absl::Minutes(2)), "nothing") << "it goes on, and says it once";
  audit_.set_writable(absl::OkStatus());
  EXPECT_EQ(NextWithin(absl::Minutes(1)), "t1");
}

TEST_F(TokenWatchTest, NothingCanBeWrittenDownAndNobodyKnowsForHowLong_IsLookedAtSoonAgain) {
  Cache("t1", absl::Hours(1));
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the disk is full"));
  EXPECT_EQ(Next(), "AUDIT_UNAVAILABLE");
  audit_.set_writable(absl::OkStatus());
  EXPECT_EQ(NextWithin(absl::Minutes(1)), "t1");
}

TEST_F(TokenWatchTest, MoreThanTheRestIsWantedValid_IsRenewedThatEarly) {
  Cache("t1", absl::Hours(1));
  auto demanding = Watch({.registration_id = "r1", .min_valid = absl::Minutes(50)});
  EXPECT_EQ(Next(*demanding), "t1");
  scheduler_.Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_EQ(Next(*demanding), "nothing");
  EXPECT_EQ(minter_.mints(), 1);
  minter_.Script(Hourly("t2"));
  scheduler_.Advance(absl::Seconds(3));
  EXPECT_EQ(Next(*demanding), "t2");
}

TEST_F(TokenWatchTest, MoreThanTheServerGivesIsWantedValid_IsRenewedNoMoreThanForOthers) {
  Cache("t1", absl::Hours(1));
  auto demanding = Watch({.registration_id = "r1", .min_valid = absl::Hours(2)});
  EXPECT_EQ(Next(*demanding), "t1");
  for (int minute = 0; minute < 29; ++minute) {
    scheduler_.Advance(absl::Minutes(1));
    EXPECT_EQ(Next(*demanding), "nothing");
  }
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenWatchTest, RegistrationIsSuspended_EndsAndTheTokenIsNotTold) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  Change("r1", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  scheduler_.RunDue();
  EXPECT_GT(wakes_, 0);
  EXPECT_EQ(Next(), "end ACCESS_ENDED");
  EXPECT_EQ(Next(), "end CANCELLED");
  EXPECT_EQ(feed_.watchers(), 0);
}

TEST_F(TokenWatchTest, SuspendedWhileTheTokenIsOnItsWay_Ends) {
  EXPECT_EQ(Next(), "nothing");
  Change("r1", [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  manager_->Forget("r1");
  minter_.Answer(Hourly("t1"));
  EXPECT_EQ(Next(), "end ACCESS_ENDED");
}

TEST_F(TokenWatchTest, AnswerIsThereWhenTheRightEnds_IsNotTold) {
  EXPECT_EQ(Next(), "nothing");
  minter_.Answer(Hourly("t1"));
  // Nobody was woken yet: the change is told later than it is true.
  store_.Remove("r1", [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  EXPECT_EQ(Next(), "end ACCESS_ENDED");
}

TEST_F(TokenWatchTest, RegistrationIsDeleted_Ends) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  store_.Remove("r1", [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "end ACCESS_ENDED");
}

TEST_F(TokenWatchTest, AnotherRegistrationChanges_NothingIsAskedNorTold) {
  Add(MakeRegistration("r2"));
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  scheduler_.RunDue();  // that it works was written down
  EXPECT_EQ(Next(), "nothing");
  const uint64_t hits = manager_->status().hits;
  Change("r2", [](Registration& one) { one.label = Identifying("Mum"); });
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "nothing");
  EXPECT_EQ(manager_->status().hits, hits);
}

TEST_F(TokenWatchTest, GenerationIsReplaced_TheNewOnesTokenIsTold) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  Change("r1", [](Registration& one) {
    one.generations = {MakeGeneration(2, GenerationState::kActive, true)};
  });
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "nothing");
  minter_.Answer(Hourly("t2"));
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "t2");
}

TEST_F(TokenWatchTest, TokensThatAreNotWorthKeeping_AreFetchedTwiceAMinuteAtMost) {
  for (int i = 0; i < 100; ++i) minter_.Script(Token("useless", absl::ZeroDuration()));
  EXPECT_EQ(Next(), "useless");
  for (int second = 0; second < 300; ++second) {
    scheduler_.Advance(absl::Seconds(1));
    Next();
  }
  EXPECT_LE(minter_.mints(), 11);
}

TEST_F(TokenWatchTest, AThousandWatchOne_CostsOneRequest) {
  std::vector<std::shared_ptr<TokenWatch>> watches;
  for (int i = 0; i < 1000; ++i) {
    watches.push_back(Watch({.registration_id = "r1"}));
    EXPECT_EQ(Next(*watches.back()), "nothing");
  }
  EXPECT_EQ(minter_.held(), 1u);
  minter_.Answer(Hourly("t1"));
  scheduler_.RunDue();
  for (const auto& watch : watches) EXPECT_EQ(Next(*watch), "t1");
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenWatchTest, StoppedWhileARequestIsUnderWay_IsWokenByNothingAnyMore) {
  EXPECT_EQ(Next(), "nothing");
  watch_->Stop();
  minter_.Answer(Hourly("t1"));
  scheduler_.Advance(absl::Hours(2));
  EXPECT_EQ(wakes_, 0);
  EXPECT_EQ(Next(), "end CANCELLED");
}

TEST_F(TokenWatchTest, DaemonStops_IsTold) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Next(), "t1");
  feed_.Stop();
  scheduler_.RunDue();
  EXPECT_EQ(Next(), "end SHUTTING_DOWN");
}

}  // namespace
}  // namespace smartkey
