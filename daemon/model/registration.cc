// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/registration.h"

namespace smartkey {

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
  if (generation == nullptr) return newest().state;
  const bool asks_its_owner = newest().state == GenerationState::kContextChanged &&
                              generation->state != GenerationState::kDeleting;
  return asks_its_owner ? GenerationState::kContextChanged : generation->state;
}

}  // namespace smartkey
