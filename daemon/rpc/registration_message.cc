// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/registration_message.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "daemon/jose/jwk.h"
#include "daemon/model/access_token.h"
#include "daemon/model/scope_cover.h"
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

// What tells who the patient is. The label says what is shared; a token names patient and user
// anyway.
void FillIdentifying(const Registration& registration, const Right& right,
                     v1::Registration* message) {
  if (right.relation == Right::Relation::kAdministered) return;
  message->set_label(registration.label.RevealIdentifying());
  const bool owner = right.relation == Right::Relation::kOwner;
  if (!owner && !right.operations.Has(Operation::kToken)) return;
  message->set_patient(registration.patient.RevealIdentifying());
  message->set_fhir_user(registration.fhir_user.RevealIdentifying());
  if (!owner || registration.state() != GenerationState::kContextChanged) return;
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

struct OperationRow {
  Operation operation;
  v1::Operation message;
};

constexpr OperationRow kOperations[] = {
    {Operation::kToken, v1::TOKEN},   {Operation::kDpop, v1::DPOP},
    {Operation::kJwt, v1::JWT},       {Operation::kAssertion, v1::ASSERTION},
    {Operation::kManage, v1::MANAGE},
};

v1::Operation ToProto(Operation operation) {
  for (const OperationRow& row : kOperations) {
    if (row.operation == operation) return row.message;
  }
  return v1::OPERATION_UNSPECIFIED;
}

absl::optional<Operation> FromProto(v1::Operation operation) {
  for (const OperationRow& row : kOperations) {
    if (row.message == operation) return row.operation;
  }
  return absl::nullopt;
}

void FillShare(const Share& share, v1::Share* message) {
  v1::Principal* principal = message->mutable_principal();
  principal->set_text(share.principal);
  if (share.uid >= 0) {
    principal->mutable_user()->set_uid(static_cast<uint32_t>(share.uid));
    principal->mutable_user()->set_name(share.user_name);
  }
  if (share.gid >= 0) principal->set_gid(static_cast<uint32_t>(share.gid));
  principal->set_unit(share.unit);
  for (const Operation one : OperationsOf(share).list()) message->add_operations(ToProto(one));
  message->mutable_scopes()->Add(share.scopes.begin(), share.scopes.end());
  SetTime(share.ends_at, message, &v1::Share::mutable_expires_at);
  if (share.policy.empty()) SetTime(share.created_at, message, &v1::Share::mutable_created_at);
  message->set_policy(share.policy);
  if (!share.policy.empty()) return;
  message->mutable_made_by()->set_uid(share.created_by);
  message->mutable_made_by()->set_name(share.created_by_name);
}

void FillRegistration(const Registration& registration, const Caller& caller,
                      const AccessPolicy& access, const Standings& standings,
                      v1::Registration* message) {
  const Right right = access.RightTo(caller, registration);
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
  for (const std::string& scope : ParseScope(current.granted_scope)) {
    // Those that a token of his can have.
    if (!right.scopes.has_value() || Covers(*right.scopes, ScopeSet{scope})) {
      message->add_scopes(scope);
    }
  }
  SetTime(registration.created_at, message, &v1::Registration::mutable_created_at);
  SetTime(current.last_token_at, message, &v1::Registration::mutable_last_token_at);
  message->set_context_varies(registration.context_varies);
  message->set_management_url(current.management_endpoint);

  message->set_relation(static_cast<v1::Relation>(right.relation));
  for (const Operation one : right.operations.list()) {
    if (ToProto(one) != v1::OPERATION_UNSPECIFIED) message->add_operations(ToProto(one));
  }
  FillIdentifying(registration, right, message);
  message->set_shares_only(registration.shares_only);
  if (!right.operations.Has(Operation::kManage)) {
    message->clear_warnings();
    return;
  }
  FillGeneration(current, message->mutable_generation());
  if (newest.number != current.number) FillGeneration(newest, message->mutable_next_generation());
  message->set_token_endpoint(current.token_endpoint);
  for (const Share& share : access.SharesOf(registration)) FillShare(share, message->add_shares());
}

}  // namespace smartkey
