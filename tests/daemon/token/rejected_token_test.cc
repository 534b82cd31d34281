// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "daemon/token/token_manager.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

class RejectedTokenTest : public TokenManagerTest {
 protected:
  absl::StatusOr<TokenManager::Rejection> Report(const std::string& token, int caller = 1000) {
    return manager_->ReportRejected("r1", caller, Secret::CopyOf(token));
  }
};

TEST_F(RejectedTokenTest, CachedTokenIsReported_ExactlyItIsDroppedAndOneIsFetched) {
  Cache("t1", absl::Hours(1));
  const auto narrow = Ask("r1", {"launch"});
  minter_.Answer(Token("t2"));
  const auto reported = Report("t1");
  ASSERT_TRUE(reported.ok()) << reported.status();
  EXPECT_TRUE(reported->dropped);
  EXPECT_TRUE(reported->refreshing);
  EXPECT_EQ(minter_.mints(), 3);
  const auto asked = Ask();  // waits for that one
  EXPECT_EQ(asked->answers, 0);
  EXPECT_EQ(minter_.mints(), 3);
  minter_.Answer(Token("t3"));
  EXPECT_EQ(asked->value(), "t3");
  EXPECT_EQ(Ask("r1", {"launch"})->value(), "t2");
}

TEST_F(RejectedTokenTest, TokenWasReplacedAlready_NothingIsDropped) {
  Cache("t1", absl::Hours(1));
  const auto reported = Report("an older one");
  ASSERT_TRUE(reported.ok());
  EXPECT_FALSE(reported->dropped);
  EXPECT_FALSE(reported->refreshing);
  EXPECT_EQ(Ask()->value(), "t1");
}

TEST_F(RejectedTokenTest, TokenOfAnotherRegistration_IsNotDropped) {
  Add(MakeRegistration("r2"));
  Cache("t2", absl::Hours(1), "r2");
  EXPECT_FALSE(Report("t2")->dropped);
  EXPECT_EQ(Ask("r2")->value(), "t2");
}

TEST_F(RejectedTokenTest, ReportsComeTooOften_TheTokenStaysAndOthersHaveTheirOwnBudget) {
  for (int i = 0; i < 3; ++i) {
    Cache("t", absl::Hours(1));
    EXPECT_TRUE(Report("t")->dropped);
    minter_.Answer(Token("t"));
  }
  const auto refused = Report("t");
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kRateLimited);
  EXPECT_GT(RetryAfterOf(refused.status()), absl::Seconds(50));
  EXPECT_EQ(Ask()->value(), "t");
  EXPECT_TRUE(Report("t", 1001)->dropped);
  minter_.Answer(Token("t"));
  clock_.Advance(absl::Minutes(1));
  EXPECT_TRUE(Report("t")->dropped);
}

TEST_F(RejectedTokenTest, RegistrationIsRefused_TheTokenIsDroppedAndNoneIsFetched) {
  Cache("t1", absl::Hours(1));
  Ask("r1", {"launch"});
  minter_.Answer(Refusal());
  const int mints = minter_.mints();
  const auto reported = Report("t1");
  EXPECT_TRUE(reported->dropped);
  EXPECT_FALSE(reported->refreshing);
  EXPECT_EQ(minter_.mints(), mints);
  EXPECT_EQ(Ask()->reason(), Reason::kRefusedByServer);
}

}  // namespace
}  // namespace smartkey
