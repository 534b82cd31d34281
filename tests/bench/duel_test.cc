// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/duel.h"

#include <string>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/software_key.h"

namespace smartkey {
namespace {

// Says how long it took, and signs in software.
class TimedContestant : public Contestant {
 public:
  TimedContestant(const SoftwareKey& key, std::string& story, char name, absl::Duration elapsed)
      : key_(key), story_(story), name_(name), elapsed_(elapsed) {}

  absl::StatusOr<DuelRound> Run(int calls) override {
    story_ += name_;
    DuelRound round;
    round.elapsed = elapsed_;
    for (int i = 0; i < calls; ++i) {
      round.latencies.push_back(elapsed_ / calls);
      round.signatures.push_back({0, key_.Sign(message)});
    }
    return round;
  }

  std::string message = DuelMessage();

 private:
  const SoftwareKey& key_;
  std::string& story_;
  const char name_;
  const absl::Duration elapsed_;
};

class DuelTest : public testing::Test {
 protected:
  const SoftwareKey key_ = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  const std::vector<DuelKey> keys_ = {{{}, key_.public_key()}};
  std::string story_;
  TimedContestant ours_{key_, story_, 'o', absl::Seconds(2)};
  TimedContestant bare_{key_, story_, 'b', absl::Seconds(1)};
  Duel duel_{ours_, bare_, keys_};
};

TEST_F(DuelTest, TwoRounds_SidesTakeTurnsAndRatiosAreOursToBare) {
  EXPECT_EQ(duel_.RunRound(4).value(), absl::Seconds(2));
  EXPECT_EQ(duel_.RunRound(4).value(), absl::Seconds(2));
  EXPECT_EQ(story_, "obob");
  EXPECT_THAT(duel_.our_rates(), testing::ElementsAre(2, 2));
  EXPECT_THAT(duel_.bare_rates(), testing::ElementsAre(4, 4));
  EXPECT_THAT(duel_.Ratios(), testing::ElementsAre(0.5, 0.5));
  EXPECT_EQ(duel_.our_latencies().size(), 8u);
}

TEST_F(DuelTest, WrongSignatureOnEitherSide_IsNoResult) {
  bare_.message = "something else";
  EXPECT_EQ(ReasonOf(duel_.RunRound(1).status()), Reason::kSignatureWrong);
  EXPECT_TRUE(duel_.bare_rates().empty());
  ours_.message = "something else";
  EXPECT_EQ(ReasonOf(duel_.RunRound(1).status()), Reason::kSignatureWrong);
}

}  // namespace
}  // namespace smartkey
