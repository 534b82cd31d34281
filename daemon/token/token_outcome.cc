// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_outcome.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "daemon/model/expected_end.h"
#include "daemon/token/refusals.h"

namespace smartkey {

namespace {

// Requests that were under way together get one refusal: longer than a request takes, shorter than
// any pause between two.
constexpr absl::Duration kTogether = absl::Minutes(2);

bool HasHadAToken(const Generation& generation) {
  return generation.first_token_at != absl::InfinitePast();
}

absl::optional<StateCause> CauseOf(Reason reason) {
  switch (reason) {
    case Reason::kRefusedByServer:
      return StateCause::kRefused;
    case Reason::kMisconfigured:
      return StateCause::kGrantNotAllowed;
    case Reason::kContextChanged:
      return StateCause::kContextChanged;
    case Reason::kKeyLostTpmCleared:
    case Reason::kKeyLostOtherMachine:
    case Reason::kKeyGone:
    case Reason::kKeyDamaged:
      return StateCause::kKeyLost;
    default:
      return absl::nullopt;
  }
}

// Returns true if it counts.
bool CountRefusal(Generation& generation, absl::Time now, bool others_are_refused) {
  if (absl::AbsDuration(now - generation.last_refusal_at) < kTogether) return false;
  ++generation.refusals;
  generation.last_refusal_at = now;
  // One in the future was written before the clock was set back.
  if (generation.first_refusal_at == absl::InfinitePast() || generation.first_refusal_at > now) {
    generation.first_refusal_at = now;
  }
  const absl::Duration refused_for = now - generation.first_refusal_at;
  const bool held = others_are_refused && refused_for < kLongestHold;
  if (generation.state == GenerationState::kSuspect &&
      generation.refusals >= kRefusalsUntilReauth && refused_for >= kTimeUntilReauth && !held &&
      MoveState(generation.state, StateCause::kRefusedForLong).ok()) {
    generation.ended_at = generation.first_refusal_at;
  }
  return true;
}

void ClearRefusals(Generation& generation) {
  generation.refusals = 0;
  generation.first_refusal_at = absl::InfinitePast();
  generation.last_refusal_at = absl::InfinitePast();
  generation.ended_at = absl::InfinitePast();
  generation.last_error = Reason::kUnspecified;
}

// The generations before `number`, whose place it has taken.
void RetireBefore(Registration& registration, int number) {
  for (Generation& one : registration.generations) {
    if (one.number >= number) break;
    NoteLifetime(registration, one);
    MoveState(one.state, StateCause::kRenewed).IgnoreError();  // the table has it for every state
  }
  std::erase_if(registration.generations, [number](const Generation& one) {
    return one.number < number && one.key.blob.empty();
  });
}

}  // namespace

absl::Status CheckServes(const Generation& generation) {
  const StateRow* row = FindState(generation.state);
  if (row == nullptr) return MakeError(Reason::kInternal, "unknown state");
  if (row->refusal == Reason::kUnspecified) return absl::OkStatus();
  // The reason of a loss was noted when it was found.
  const bool names_its_loss = generation.state == GenerationState::kKeyLost &&
                              generation.last_error != Reason::kUnspecified;
  return MakeError(names_its_loss ? generation.last_error : row->refusal, row->refusal_message);
}

absl::StatusOr<const Generation*> ServingGeneration(const Registration& registration) {
  if (registration.suspension.has_value()) {
    absl::Status suspended = MakeError(Reason::kSuspended, "the registration is suspended");
    if (!registration.suspension->by_administrator) return suspended;
    return WithRemedy(std::move(suspended), "ask the administrator to resume it");
  }
  const Generation* serving = registration.serving();
  if (serving == nullptr) serving = &registration.newest();
  if (absl::Status status = CheckServes(*serving); !status.ok()) return status;
  return serving;
}

bool SameContext(const Registration& registration, const Generation& generation,
                 const AccessToken& token) {
  if (registration.context_varies) return true;
  if (generation.accepts_new_patient && !HasHadAToken(generation)) return true;
  // A renewal that cannot be told to be for the same patient is not taken for it.
  if (!HasHadAToken(generation) && !registration.patient.empty() && token.patient.empty()) {
    return false;
  }
  const auto differs = [](const Identifying& pinned, const Identifying& got) {
    return !pinned.empty() && !got.empty() && pinned != got;
  };
  return !differs(registration.patient, token.patient) &&
         !differs(registration.fhir_user, token.fhir_user);
}

bool IsRetired(const Registration& registration, const Generation& old) {
  const Generation* serving = registration.serving();
  return old.state == GenerationState::kDeleting && serving != nullptr &&
         serving->state != GenerationState::kDeleting && old.number < serving->number;
}

absl::Status ApplyToken(Registration& registration, int number, const AccessToken& token,
                        absl::Time now) {
  Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr || generation->state == GenerationState::kDeleting) {
    return RegistrationNotFound();
  }
  // What has once named another patient stays shut until a renewal: an answer that was under way
  // meanwhile does not open it again.
  if (generation->state == GenerationState::kContextChanged ||
      !SameContext(registration, *generation, token)) {
    return MakeError(Reason::kContextChanged,
                     "the server named another patient or user than at enrollment");
  }
  generation->last_token_at = now;
  if (absl::Status moved = MoveState(generation->state, StateCause::kToken); !moved.ok()) {
    return moved;
  }
  ClearRefusals(*generation);
  const bool first = !HasHadAToken(*generation);
  if (first) {
    generation->first_token_at = now;
    generation->patient = token.patient;
    generation->fhir_user = token.fhir_user;
    if (std::exchange(generation->accepts_new_patient, false)) {
      registration.patient = Identifying();
      registration.fhir_user = Identifying();
      registration.shares.clear();
    }
  }
  if (!registration.context_varies) {
    if (registration.patient.empty()) registration.patient = token.patient;
    if (registration.fhir_user.empty()) registration.fhir_user = token.fhir_user;
  }
  if (first) RetireBefore(registration, number);
  return absl::OkStatus();
}

bool ApplyContextChange(Registration& registration, int number, const AccessToken& token) {
  Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr || !MoveState(generation->state, StateCause::kContextChanged).ok()) {
    return false;
  }
  generation->patient = token.patient;
  generation->fhir_user = token.fhir_user;
  generation->last_error = Reason::kContextChanged;
  return true;
}

bool ApplyFailure(Registration& registration, int number, const absl::Status& error, absl::Time now,
                  bool others_are_refused) {
  Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr) return false;
  const Reason reason = ReasonOf(error);
  const absl::optional<StateCause> cause = CauseOf(reason);
  // What the table has no row for counts for nothing: so for a generation whose first token has not
  // come, and for a deletion, which is the owner's word.
  if (!cause.has_value() || !MoveState(generation->state, *cause).ok()) return false;
  if (*cause == StateCause::kRefused && !CountRefusal(*generation, now, others_are_refused)) {
    return false;
  }
  generation->last_error = reason;
  return true;
}

}  // namespace smartkey
