// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/registration.h"

namespace smartkey {
namespace {

struct StateRow {
  GenerationState state;
  absl::string_view name;
  absl::string_view words;
};

constexpr absl::string_view kWorking = "working";
constexpr absl::string_view kWaiting = "waiting for the server";
constexpr absl::string_view kRenew = "needs you: renew";
constexpr absl::string_view kAdministrator = "needs the administrator";

// What a person can do about each state. Waiting covers everything that moves on by itself.
constexpr StateRow kStates[] = {
    {GenerationState::kPending, "PENDING", kWaiting},
    {GenerationState::kRegistering, "REGISTERING", kWaiting},
    {GenerationState::kVerifying, "VERIFYING", kWaiting},
    {GenerationState::kActive, "ACTIVE", kWorking},
    {GenerationState::kSuspect, "SUSPECT", kWaiting},
    {GenerationState::kReauthRequired, "REAUTH_REQUIRED", kRenew},
    {GenerationState::kMisconfigured, "MISCONFIGURED", kAdministrator},
    {GenerationState::kContextChanged, "CONTEXT_CHANGED", kRenew},
    {GenerationState::kOrphaned, "ORPHANED", kRenew},
    {GenerationState::kKeyUnavailable, "KEY_UNAVAILABLE", kAdministrator},
    {GenerationState::kKeyLost, "KEY_LOST", kRenew},
    {GenerationState::kDeleting, "DELETING", kWaiting},
};

const StateRow* FindRow(GenerationState state) {
  for (const StateRow& row : kStates) {
    if (row.state == state) return &row;
  }
  return nullptr;
}

}  // namespace

absl::string_view GenerationStateName(GenerationState state) {
  const StateRow* row = FindRow(state);
  return row != nullptr ? row->name : "UNKNOWN";
}

absl::string_view GenerationStateWords(GenerationState state) {
  const StateRow* row = FindRow(state);
  return row != nullptr ? row->words : kAdministrator;
}

const Generation* Registration::serving() const {
  for (auto it = generations.rbegin(); it != generations.rend(); ++it) {
    if (it->first_token_at != absl::InfinitePast()) return &*it;
  }
  return nullptr;
}

const Generation* Registration::FindGeneration(int number) const {
  for (const Generation& generation : generations) {
    if (generation.number == number) return &generation;
  }
  return nullptr;
}

Generation* Registration::FindGeneration(int number) {
  return const_cast<Generation*>(static_cast<const Registration*>(this)->FindGeneration(number));
}

const Generation* Registration::FindEnrollment(absl::string_view enrollment_id) const {
  if (enrollment_id.empty()) return nullptr;
  for (const Generation& generation : generations) {
    if (generation.enrollment_id == enrollment_id) return &generation;
  }
  return nullptr;
}

GenerationState Registration::state() const {
  const Generation* generation = serving();
  return generation != nullptr ? generation->state : newest().state;
}

}  // namespace smartkey
