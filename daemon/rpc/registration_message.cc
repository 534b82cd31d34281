// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/registration_message.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "daemon/jose/jwk.h"
#include "daemon/model/access_token.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

v1::KeyProviderType ProviderType(const std::string& provider) {
  if (provider == "tpm") return v1::TPM;
  if (provider == "pkcs11") return v1::PKCS11;
  return v1::KEY_PROVIDER_TYPE_UNSPECIFIED;
}

void FillKey(const Generation& generation, v1::Key* key) {
  key->set_algorithm(std::string(AlgorithmName(generation.algorithm)));
  key->set_thumbprint(generation.thumbprint);
  key->set_provider(ProviderType(generation.key.provider));
  for (const KeyAttribute& attribute : generation.key_attributes) {
    v1::KeyAttribute* one = key->add_attributes();
    one->set_name(attribute.name);
    one->set_value(attribute.value);
  }
  key->set_tpm_public(generation.key_public_area);
  key->set_public_jwk(ToJwk(generation.public_key, generation.algorithm).dump());
  SetTime(generation.created_at, key, &v1::Key::mutable_created_at);
}

void FillGeneration(const Generation& generation, v1::Generation* message) {
  message->set_number(generation.number);
  message->set_state(static_cast<v1::RegistrationState>(generation.state));
  message->set_client_id(generation.client_id);
  // Not before it is made, nor once it is destroyed.
  if (!generation.key.blob.empty()) FillKey(generation, message->mutable_key());
  SetTime(generation.created_at, message, &v1::Generation::mutable_created_at);
  SetTime(generation.registered_at, message, &v1::Generation::mutable_registered_at);
  SetTime(generation.first_token_at, message, &v1::Generation::mutable_first_token_at);
}

void FillSuspension(const Registration& registration, v1::Registration* message) {
  if (!registration.suspension.has_value()) return;
  v1::Suspension* suspension = message->mutable_suspended();
  suspension->mutable_by()->set_uid(registration.suspension->by_uid);
  suspension->mutable_by()->set_name(registration.suspension->by_name);
  suspension->set_by_administrator(registration.suspension->by_administrator);
  suspension->set_why(registration.suspension->why);
  SetTime(registration.suspension->since, suspension, &v1::Suspension::mutable_since);
  // What a token request is told, whatever else is the matter.
  absl::Status cause = MakeError(Reason::kSuspended, "the registration is suspended");
  if (suspension->by_administrator()) {
    cause = WithRemedy(std::move(cause), "ask the administrator to resume it");
  }
  *message->mutable_cause() = ToErrorDetail(cause);
  message->set_user_action(message->cause().user_action());
}

void FillStanding(const Standing& standing, v1::Registration* message) {
  message->set_server(standing.server_name);
  message->set_state(static_cast<v1::RegistrationState>(standing.state));
  message->set_state_words(standing.words);
  if (!standing.cause.ok()) {
    *message->mutable_cause() = ToErrorDetail(standing.cause);
    message->set_user_action(message->cause().user_action());
  }
  SetTime(standing.next_attempt, message, &v1::Registration::mutable_next_attempt_at);
  if (standing.expected_end.has_value()) {
    SetTime(standing.expected_end->time, message->mutable_expected_end(),
            &v1::ExpectedEnd::mutable_time);
    message->mutable_expected_end()->set_source(
        static_cast<v1::ExpectedEnd::Source>(standing.expected_end->source));
  }
  for (const RegistrationWarning warning : standing.warnings) {
    message->add_warnings(ToProto(warning));
  }
}

// What tells who the patient is: for the owner's eyes alone.
void FillIdentifying(const Registration& registration, v1::Registration* message) {
  message->set_label(registration.label.RevealIdentifying());
  message->set_patient(registration.patient.RevealIdentifying());
  message->set_fhir_user(registration.fhir_user.RevealIdentifying());
  if (registration.state() != GenerationState::kContextChanged) return;
  const Generation* serving = registration.serving();
  const bool in_use = serving != nullptr && serving->state == GenerationState::kContextChanged;
  const Generation& other = in_use ? *serving : registration.newest();
  message->set_other_patient(other.patient.RevealIdentifying());
  message->set_other_fhir_user(other.fhir_user.RevealIdentifying());
}

}  // namespace

v1::Warning ToProto(RegistrationWarning warning) {
  return static_cast<v1::Warning>(warning);
}

void FillRegistration(const Registration& registration, const Caller& caller,
                      const Standings& standings, v1::Registration* message) {
  const Generation* serving = registration.serving();
  const Generation& newest = registration.newest();
  const Generation& current = serving != nullptr ? *serving : newest;

  message->set_id(registration.id);
  message->set_name(registration.name.RevealIdentifying());
  message->mutable_owner()->set_uid(registration.owner_uid);
  message->mutable_owner()->set_name(registration.owner_name);
  message->set_app(registration.app_id);
  message->set_fhir_base(registration.fhir_base);
  message->set_kind(static_cast<v1::RegistrationKind>(registration.kind));
  FillStanding(standings.Of(registration), message);
  FillSuspension(registration, message);
  FillGeneration(current, message->mutable_generation());
  if (newest.number != current.number) FillGeneration(newest, message->mutable_next_generation());
  for (const std::string& scope : ParseScope(current.granted_scope)) message->add_scopes(scope);
  message->set_token_endpoint(current.token_endpoint);
  SetTime(registration.created_at, message, &v1::Registration::mutable_created_at);
  SetTime(current.last_token_at, message, &v1::Registration::mutable_last_token_at);
  message->set_context_varies(registration.context_varies);
  message->set_management_url(current.management_endpoint);

  message->add_operations(v1::MANAGE);
  if (caller.admin) {
    message->set_relation(v1::ADMINISTERED);
    return;
  }
  message->set_relation(v1::OWN);
  message->add_operations(v1::TOKEN);
  message->add_operations(v1::ASSERTION);
  FillIdentifying(registration, message);
}

}  // namespace smartkey
