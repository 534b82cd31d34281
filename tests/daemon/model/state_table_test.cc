// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/state_table.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

namespace smartkey {
namespace {

TEST(StateTable, EveryStateHasOneRowInTheOrderOfTheNumbers) {
  ASSERT_EQ(AllStates().size(), 12u);
  for (size_t i = 0; i < AllStates().size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(AllStates()[i].state), i + 1);
    EXPECT_FALSE(AllStates()[i].meaning.empty()) << AllStates()[i].name;
    EXPECT_EQ(AllStates()[i].refusal == Reason::kUnspecified,
              AllStates()[i].refusal_message.empty());
  }
}

TEST(StateTable, ACauseMovesAStateInOneWayOnly) {
  std::set<std::pair<GenerationState, StateCause>> seen;
  for (const StateTransition& row : AllTransitions()) {
    EXPECT_TRUE(seen.emplace(row.from, row.cause).second)
        << GenerationStateName(row.from) << ": " << StateCauseWords(row.cause);
    EXPECT_FALSE(StateCauseWords(row.cause).empty());
    EXPECT_NE(row.test.find('.'), absl::string_view::npos) << row.test;
  }
}

TEST(StateTable, EveryStateButTheFirstAndTheShownOneIsReachedAndEveryOneIsLeft) {
  std::set<GenerationState> reached = {GenerationState::kPending};
  for (const StateTransition& row : AllTransitions()) {
    if (row.to.has_value()) reached.insert(*row.to);
  }
  EXPECT_EQ(reached.size(), AllStates().size());
  for (const StateRow& row : AllStates()) {
    // A deletion ends whatever there is.
    ASSERT_NE(FindTransition(row.state, StateCause::kDeleteCalled), nullptr) << row.name;
    ASSERT_NE(FindTransition(row.state, StateCause::kRenewed), nullptr) << row.name;
  }
}

TEST(MoveState, TransitionOfTheTable_IsMade) {
  GenerationState state = GenerationState::kPending;
  EXPECT_TRUE(MoveState(state, StateCause::kPostIsSent).ok());
  EXPECT_TRUE(MoveState(state, StateCause::kClientRegistered).ok());
  EXPECT_TRUE(MoveState(state, StateCause::kToken).ok());
  EXPECT_EQ(state, GenerationState::kActive);
}

TEST(MoveState, EveryPairThatIsNotInTheTable_IsRefusedAndChangesNothing) {
  for (const StateRow& row : AllStates()) {
    for (int cause = 0; cause <= static_cast<int>(StateCause::kKeyDestroyed); ++cause) {
      GenerationState state = row.state;
      const StateTransition* found = FindTransition(row.state, static_cast<StateCause>(cause));
      const absl::Status moved = MoveState(state, static_cast<StateCause>(cause));
      if (found != nullptr && found->to.has_value()) {
        EXPECT_TRUE(moved.ok());
        EXPECT_EQ(state, *found->to);
      } else {
        EXPECT_EQ(ReasonOf(moved), Reason::kInternal) << row.name << " " << cause;
        EXPECT_EQ(state, row.state);
      }
    }
  }
}

}  // namespace
}  // namespace smartkey
