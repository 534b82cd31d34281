// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/registration.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

Generation MakeGeneration(int number, GenerationState state, bool had_a_token) {
  Generation generation;
  generation.number = number;
  generation.state = state;
  generation.enrollment_id = absl::StrCat("e", number);
  if (had_a_token) generation.first_token_at = absl::FromUnixSeconds(1000 + number);
  return generation;
}

TEST(GenerationState, EveryStateHasItsOwnNameAndTheNumberOfTheProto) {
  const std::vector<std::pair<int, std::string>> expected = {
      {1, "PENDING"},  {2, "REGISTERING"},      {3, "VERIFYING"},     {4, "ACTIVE"},
      {5, "SUSPECT"},  {6, "REAUTH_REQUIRED"},  {7, "MISCONFIGURED"}, {8, "CONTEXT_CHANGED"},
      {9, "ORPHANED"}, {10, "KEY_UNAVAILABLE"}, {11, "KEY_LOST"},     {12, "DELETING"}};
  for (const auto& [number, name] : expected) {
    EXPECT_EQ(GenerationStateName(static_cast<GenerationState>(number)), name);
  }
  EXPECT_EQ(GenerationStateName(static_cast<GenerationState>(13)), "UNKNOWN");
}

TEST(GenerationState, PeopleAreShownOneOfFourPhrases) {
  const std::set<std::string> phrases = {"working", "waiting for the server", "needs you: renew",
                                         "needs the administrator"};
  for (int number = 1; number <= 12; ++number) {
    const auto state = static_cast<GenerationState>(number);
    EXPECT_TRUE(phrases.contains(std::string(GenerationStateWords(state)))) << number;
  }
  EXPECT_EQ(GenerationStateWords(GenerationState::kActive), "working");
  EXPECT_EQ(GenerationStateWords(GenerationState::kSuspect), "waiting for the server");
  EXPECT_EQ(GenerationStateWords(GenerationState::kReauthRequired), "needs you: renew");
  EXPECT_EQ(GenerationStateWords(GenerationState::kMisconfigured), "needs the administrator");
}

TEST(Registration, FirstEnrollmentWithoutToken_NothingServesAndTheNewestStateShows) {
  Registration registration;
  registration.generations = {MakeGeneration(1, GenerationState::kVerifying, false)};
  EXPECT_EQ(registration.serving(), nullptr);
  EXPECT_EQ(registration.state(), GenerationState::kVerifying);
}

TEST(Registration, RenewalUnderWay_TheOldGenerationServesAndShows) {
  Registration registration;
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true),
                              MakeGeneration(2, GenerationState::kPending, false)};
  ASSERT_NE(registration.serving(), nullptr);
  EXPECT_EQ(registration.serving()->number, 1);
  EXPECT_EQ(registration.newest().number, 2);
  EXPECT_EQ(registration.state(), GenerationState::kActive);
}

TEST(Registration, RenewalHasItsFirstToken_TheNewGenerationServes) {
  Registration registration;
  registration.generations = {MakeGeneration(1, GenerationState::kReauthRequired, true),
                              MakeGeneration(2, GenerationState::kActive, true)};
  EXPECT_EQ(registration.serving()->number, 2);
  EXPECT_EQ(registration.state(), GenerationState::kActive);
}

TEST(Registration, GenerationsAreFoundByNumberAndByEnrollment) {
  Registration registration;
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true),
                              MakeGeneration(3, GenerationState::kPending, false)};
  EXPECT_EQ(registration.FindGeneration(3)->enrollment_id, "e3");
  EXPECT_EQ(registration.FindGeneration(2), nullptr);
  EXPECT_EQ(registration.FindEnrollment("e1")->number, 1);
  EXPECT_EQ(registration.FindEnrollment("e2"), nullptr);
  registration.generations[0].enrollment_id.clear();
  EXPECT_EQ(registration.FindEnrollment(""), nullptr);
}

}  // namespace
}  // namespace smartkey
