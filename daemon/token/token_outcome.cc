// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_outcome.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "daemon/model/expected_end.h"

namespace smartkey {

namespace {

constexpr int kRefusalsUntilReauth = 6;
constexpr absl::Duration kTimeUntilReauth = absl::Hours(24);

absl::Status StateError(GenerationState state, const Generation& generation) {
  switch (state) {
    case GenerationState::kActive:
    case GenerationState::kSuspect:
      return absl::OkStatus();
    case GenerationState::kPending:
      return MakeError(Reason::kNotReady,
                       "the enrollment is not finished: no one has logged in yet");
    case GenerationState::kRegistering:
      return MakeError(Reason::kNotReady, "the registration at the server is under way");
    case GenerationState::kVerifying:
      return MakeError(Reason::kNotReady,
                       "registered; the server does not give tokens for the new client yet");
    case GenerationState::kReauthRequired:
      return MakeError(Reason::kReauthRequired,
                       "the server has refused this registration for a day");
    case GenerationState::kMisconfigured:
      return MakeError(Reason::kMisconfigured,
                       "the server does not let this client ask for tokens in this way");
    case GenerationState::kContextChanged:
      return MakeError(Reason::kContextChanged,
                       "the server named another patient or user than at enrollment");
    case GenerationState::kOrphaned:
      return MakeError(
          Reason::kOrphaned,
          "the server's answer to the registration was lost, and its client_id with it");
    case GenerationState::kKeyUnavailable:
      return MakeError(Reason::kKeyUnavailable, "the hardware that holds the key is not available");
    case GenerationState::kKeyLost:
      // The reason of the loss was noted when it was found.
      return MakeError(
          generation.last_error == Reason::kUnspecified ? Reason::kKeyGone : generation.last_error,
          "the hardware no longer has the key");
    case GenerationState::kDeleting:
      return MakeError(Reason::kDeleting, "the registration is being deleted");
  }
  return MakeError(Reason::kInternal, "unknown state");
}

}  // namespace

absl::Status CheckServes(const Generation& generation) {
  return StateError(generation.state, generation);
}

absl::StatusOr<const Generation*> ServingGeneration(const Registration& registration) {
  if (registration.suspension.has_value()) {
    return MakeError(Reason::kSuspended, "the registration is suspended");
  }
  const Generation* serving = registration.serving();
  if (serving == nullptr) serving = &registration.newest();
  if (absl::Status status = CheckServes(*serving); !status.ok()) return status;
  return serving;
}

bool SameContext(const Registration& registration, const AccessToken& token) {
  if (registration.context_varies) return true;
  const auto differs = [](const Identifying& pinned, const Identifying& got) {
    return !pinned.empty() && !got.empty() && pinned != got;
  };
  return !differs(registration.patient, token.patient) &&
         !differs(registration.fhir_user, token.fhir_user);
}

absl::Status ApplyToken(Registration& registration, int number, const AccessToken& token,
                        absl::Time now) {
  Generation* generation = registration.FindGeneration(number);
  if (generation == nullptr || generation->state == GenerationState::kDeleting) {
    return RegistrationNotFound();
  }
  // What has once named another patient stays shut until a renewal: an answer that was under way
  // meanwhile does not open it again.
  if (generation->state == GenerationState::kContextChanged || !SameContext(registration, token)) {
    return MakeError(Reason::kContextChanged,
                     "the server named another patient or user than at enrollment");
  }
  if (!registration.context_varies) {
    if (registration.patient.empty()) registration.patient = token.patient;
    if (registration.fhir_user.empty()) registration.fhir_user = token.fhir_user;
  }
  generation->state = GenerationState::kActive;
  generation->refusals = 0;
  generation->first_refusal_at = absl::InfinitePast();
  generation->ended_at = absl::InfinitePast();
  generation->last_error = Reason::kUnspecified;
  generation->last_token_at = now;
  if (generation->first_token_at == absl::InfinitePast()) {
    generation->first_token_at = now;
    for (const Generation& one : registration.generations) {
      if (one.number < number) NoteLifetime(registration, one);
    }
    std::erase_if(registration.generations,
                  [number](const Generation& one) { return one.number < number; });
  }
  return absl::OkStatus();
}

bool ApplyFailure(Registration& registration, int number, const absl::Status& error,
                  absl::Time now) {
  Generation* generation = registration.FindGeneration(number);
  // A deletion is the owner's word, and what a dying key makes fail does not take it back.
  if (generation == nullptr || generation->state == GenerationState::kDeleting) return false;
  const bool counts = generation->state == GenerationState::kActive ||
                      generation->state == GenerationState::kSuspect ||
                      generation->state == GenerationState::kReauthRequired;
  const Reason reason = ReasonOf(error);
  switch (reason) {
    case Reason::kRefusedByServer:
      if (!counts) return false;
      ++generation->refusals;
      if (generation->first_refusal_at == absl::InfinitePast()) generation->first_refusal_at = now;
      generation->state = generation->refusals >= kRefusalsUntilReauth &&
                                  now - generation->first_refusal_at >= kTimeUntilReauth
                              ? GenerationState::kReauthRequired
                          : generation->state == GenerationState::kReauthRequired
                              ? GenerationState::kReauthRequired
                              : GenerationState::kSuspect;
      if (generation->state == GenerationState::kReauthRequired) {
        generation->ended_at = generation->first_refusal_at;
      }
      break;
    case Reason::kMisconfigured:
      if (!counts && generation->state != GenerationState::kVerifying) return false;
      generation->state = GenerationState::kMisconfigured;
      break;
    case Reason::kContextChanged:
      generation->state = GenerationState::kContextChanged;
      break;
    case Reason::kKeyLostTpmCleared:
    case Reason::kKeyLostOtherMachine:
    case Reason::kKeyGone:
    case Reason::kKeyDamaged:
      generation->state = GenerationState::kKeyLost;
      break;
    default:
      return false;
  }
  generation->last_error = reason;
  return true;
}

}  // namespace smartkey
