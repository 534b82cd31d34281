// SPDX-License-Identifier: Apache-2.0
// Tokens in use are replaced in time, whether anybody asks just then or not.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

class TokenRefreshTest : public TokenManagerTest {
 protected:
  // Time goes by; each request gets a new token of an hour, or `failure`.
  void Pass(absl::Duration time, const absl::Status& failure = absl::OkStatus()) {
    for (absl::Duration passed; passed < time; passed += kStep) {
      scheduler_.Advance(kStep);
      AnswerAll(failure);
    }
  }
  // Until the next request, which gets a new token. False: there is none in time.
  bool PassAPeriod() {
    const int before = minter_.mints();
    for (absl::Duration passed; passed < kRefreshTime; passed += kStep) {
      scheduler_.Advance(kStep);
      if (minter_.mints() == before) continue;
      AnswerAll();
      return true;
    }
    return false;
  }
  void AnswerAll(const absl::Status& failure = absl::OkStatus()) {
    while (minter_.held() > 0) {
      if (failure.ok()) {
        minter_.Answer(Token(absl::StrCat("t", minter_.mints())));
      } else {
        minter_.Answer(failure);
      }
    }
  }

  static constexpr absl::Duration kStep = absl::Seconds(1);
  // Of a token of an hour, at the latest.
  static constexpr absl::Duration kRefreshTime = absl::Minutes(41);
};

TEST_F(TokenRefreshTest, AskedForAgain_IsReplacedBeforeTheNextRequest) {
  Cache("t1", absl::Hours(1));
  EXPECT_EQ(Ask()->value(), "t1");
  Pass(absl::Minutes(29));
  EXPECT_EQ(minter_.mints(), 1) << "before half of its life";
  Pass(kRefreshTime - absl::Minutes(29));
  ASSERT_EQ(minter_.mints(), 2);
  EXPECT_EQ(minter_.calls()[1].caller, KeyService::kInternal);
  EXPECT_EQ(Ask()->value(), "t2");
}

TEST_F(TokenRefreshTest, FetchedOnce_IsLeftToExpire) {
  Cache("t1", absl::Hours(1));
  Pass(absl::Hours(3));
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenRefreshTest, NobodyAsksAnyMore_StopsWithTheThirdUnusedPeriod) {
  Cache("t1", absl::Hours(1));
  Ask();
  EXPECT_TRUE(PassAPeriod()) << "for its user";
  EXPECT_TRUE(PassAPeriod()) << "after the first in which nobody asked";
  EXPECT_TRUE(PassAPeriod()) << "after the second";
  Pass(absl::Hours(3));
  EXPECT_EQ(minter_.mints(), 4);
}

TEST_F(TokenRefreshTest, AskedForInEverySecondPeriod_GoesOn) {
  Cache("t1", absl::Hours(1));
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Ask()->source(), TokenSource::kCache);
    EXPECT_TRUE(PassAPeriod()) << i;
    EXPECT_TRUE(PassAPeriod()) << i;
  }
}

TEST_F(TokenRefreshTest, AskedForAgainAfterItStopped_BeginsAnew) {
  Cache("t1", absl::Hours(1));
  Ask();
  Pass(absl::Hours(6));
  const int before = minter_.mints();
  const auto asked = Ask();
  AnswerAll();
  EXPECT_TRUE(asked->ok());
  EXPECT_FALSE(PassAPeriod()) << "once is not use";
  EXPECT_EQ(Ask()->value(), absl::StrCat("t", before + 1));
  Pass(absl::Minutes(1));
  EXPECT_EQ(minter_.mints(), before + 2) << "the request found it to be of an age";
}

TEST_F(TokenRefreshTest, EachScopeSet_IsReplacedForItself) {
  minter_.Script(Token("a1"));
  minter_.Script(Token("b1"));
  ASSERT_TRUE(Ask("r1", {"a"})->ok());
  ASSERT_TRUE(Ask("r1", {"b"})->ok());
  ASSERT_TRUE(Ask("r1", {"b"})->ok());  // only this one is in use
  Pass(kRefreshTime);
  ASSERT_EQ(minter_.mints(), 3);
  EXPECT_EQ(minter_.calls()[2].scopes, ScopeSet{"b"});
  EXPECT_EQ(Ask("r1", {"b"})->value(), "t3");
}

TEST_F(TokenRefreshTest, ServerIsDown_TheTokenIsServedAndReplacedWhenItHeals) {
  Cache("t1", absl::Hours(1));
  Ask();
  Pass(kRefreshTime, MakeError(Reason::kServerUnreachable, "down"));
  EXPECT_GT(minter_.mints(), 1);
  const auto meanwhile = Ask();
  EXPECT_EQ(meanwhile->value(), "t1");
  EXPECT_EQ(meanwhile->source(), TokenSource::kStaleValid);
  Pass(absl::Minutes(8));  // the longest gap, with its spread
  EXPECT_EQ(Ask()->source(), TokenSource::kCache);
  EXPECT_NE(Ask()->value(), "t1");
}

TEST_F(TokenRefreshTest, ServerStaysDown_EndsWithTheToken) {
  Cache("t1", absl::Hours(1));
  Ask();
  const absl::Status down = MakeError(Reason::kServerUnreachable, "down");
  Pass(absl::Hours(1), down);
  const int tried = minter_.mints();
  EXPECT_GT(tried, 2);
  EXPECT_LT(tried, 40);
  Pass(absl::Hours(3), down);
  EXPECT_EQ(minter_.mints(), tried) << "an expired token is in nobody's use";
}

TEST_F(TokenRefreshTest, RegistrationGivesNoneAnyMore_NothingIsFetched) {
  const std::vector<std::pair<std::string, std::function<void(Registration&)>>> changes = {
      {"suspended", [](Registration& one) { one.suspension = Suspension{.by_uid = 1000}; }},
      {"needs its person",
       [](Registration& one) { one.generations[0].state = GenerationState::kReauthRequired; }},
      {"its server was removed",
       [](Registration& one) {
         one.server_name = "gone";
         one.fhir_base = "https://gone.example/fhir";
       }},
      {"renewed", [](Registration& one) {
         one.generations[0].state = GenerationState::kDeleting;
         one.generations.push_back(MakeGeneration(2, GenerationState::kActive, true));
       }}};
  for (const auto& [what, change] : changes) {
    const std::string id = absl::StrCat("r-", what);
    Add(MakeRegistration(id));
    Cache("t1", absl::Hours(1), id);
    Ask(id);
    const int before = minter_.mints();
    Change(id, change);
    Pass(kRefreshTime);
    EXPECT_EQ(minter_.mints(), before) << what;
  }
}

TEST_F(TokenRefreshTest, Forgotten_LeavesNoTimer) {
  const int before = scheduler_.pending();
  Cache("t1", absl::Hours(1));
  Ask();
  EXPECT_EQ(scheduler_.pending(), before + 1);
  manager_->Forget("r1");
  EXPECT_EQ(scheduler_.pending(), before);
}

TEST_F(TokenRefreshTest, ManagerEnds_LeavesNoTimer) {
  Cache("t1", absl::Hours(1));
  Ask();
  manager_.reset();
  EXPECT_EQ(scheduler_.pending(), 0);
}

TEST_F(TokenRefreshTest, ManyAreDueAtOnceAfterASuspend_AreSpread) {
  constexpr int kMany = 50;
  for (int i = 0; i < kMany; ++i) {
    const std::string id = absl::StrCat("many-", i);
    Add(MakeRegistration(id, absl::StrCat("https://ehr", i, ".example/token")));
    Cache("t1", absl::Hours(1), id);
    Ask(id);
  }
  clock_.Advance(absl::Minutes(50));  // no timer runs meanwhile
  scheduler_.RunDue();
  EXPECT_EQ(minter_.mints(), kMany) << "none at the moment of waking";
  Pass(absl::Minutes(1));
  EXPECT_GT(minter_.mints(), kMany);
  EXPECT_LT(minter_.mints(), 2 * kMany);
  Pass(absl::Minutes(1));
  EXPECT_EQ(minter_.mints(), 2 * kMany);
}

}  // namespace
}  // namespace smartkey
