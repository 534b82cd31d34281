// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/convert.h"

#include <utility>

#include "clients/cpp/status_decode.h"

namespace smartkey::client {
namespace {

template <typename Repeated>
std::vector<std::string> Strings(const Repeated& in) {
  return {in.begin(), in.end()};
}

absl::optional<absl::Time> TimeIf(bool present, const google::protobuf::Timestamp& in) {
  if (!present) return absl::nullopt;
  return absl::FromUnixSeconds(in.seconds()) + absl::Nanoseconds(in.nanos());
}

absl::optional<Cause> CauseIf(bool present, const v1::ErrorDetail& in) {
  if (!present) return absl::nullopt;
  return DecodeCause(in);
}

User FromProto(const v1::User& in) {
  return {in.uid(), in.name()};
}

Key FromProto(const v1::Key& in) {
  Key out;
  out.algorithm = in.algorithm();
  out.thumbprint = in.thumbprint();
  out.provider = static_cast<KeyProviderType>(in.provider());
  for (const auto& attribute : in.attributes()) {
    out.attributes.emplace_back(attribute.name(), attribute.value());
  }
  out.tpm_public = in.tpm_public();
  out.public_jwk = in.public_jwk();
  out.created_at = TimeIf(in.has_created_at(), in.created_at());
  return out;
}

absl::optional<Generation> GenerationIf(bool present, const v1::Generation& in) {
  if (!present) return absl::nullopt;
  Generation out;
  out.number = in.number();
  out.state = static_cast<RegistrationState>(in.state());
  out.client_id = in.client_id();
  if (in.has_key()) out.key = FromProto(in.key());
  out.created_at = TimeIf(in.has_created_at(), in.created_at());
  out.registered_at = TimeIf(in.has_registered_at(), in.registered_at());
  out.first_token_at = TimeIf(in.has_first_token_at(), in.first_token_at());
  return out;
}

// Enum values by name, since these are shown and not switched over.
template <typename Repeated, typename NameOf>
std::vector<std::string> EnumNames(const Repeated& in, NameOf name_of) {
  std::vector<std::string> out;
  for (const int value : in) {
    const std::string& name = name_of(value);
    out.push_back(name.empty() ? "UNKNOWN" : name);
  }
  return out;
}

std::vector<std::string> WarningNames(const google::protobuf::RepeatedField<int>& in) {
  return EnumNames(in, [](int value) -> const std::string& { return v1::Warning_Name(value); });
}

absl::string_view NameOr(const std::string& name) {
  return name.empty() ? absl::string_view("UNKNOWN") : absl::string_view(name);
}

template <typename Repeated>
std::vector<std::string> OperationNames(const Repeated& in) {
  return EnumNames(in, [](int value) -> const std::string& { return v1::Operation_Name(value); });
}

}  // namespace

absl::string_view Name(RegistrationState state) {
  return NameOr(v1::RegistrationState_Name(static_cast<int>(state)));
}
absl::string_view Name(Relation relation) {
  return NameOr(v1::Relation_Name(static_cast<int>(relation)));
}
absl::string_view Name(KeyProviderType provider) {
  return NameOr(v1::KeyProviderType_Name(static_cast<int>(provider)));
}
absl::string_view Name(HardwareState state) {
  return NameOr(v1::HardwareState_Name(static_cast<int>(state)));
}
absl::string_view Name(TokenSource source) {
  return NameOr(v1::TokenSource_Name(static_cast<int>(source)));
}
absl::string_view Name(EndSource source) {
  return NameOr(v1::ExpectedEnd::Source_Name(static_cast<int>(source)));
}
absl::string_view Name(WatchEvent event) {
  return NameOr(v1::WatchRegistrationsResponse::Event_Name(static_cast<int>(event)));
}
absl::string_view Name(AccessRequestState state) {
  return NameOr(v1::AccessRequest::State_Name(static_cast<int>(state)));
}
absl::string_view Name(EnrollmentStep step) {
  return NameOr(v1::WatchEnrollmentResponse::Step_Name(static_cast<int>(step)));
}

Registration FromProto(const v1::Registration& in) {
  Registration out;
  out.id = in.id();
  out.name = in.name();
  out.label = in.label();
  out.owner = FromProto(in.owner());
  out.relation = static_cast<Relation>(in.relation());
  out.app = in.app();
  out.server = in.server();
  out.fhir_base = in.fhir_base();
  out.state = static_cast<RegistrationState>(in.state());
  out.state_words = in.state_words();
  out.user_action = static_cast<UserAction>(in.user_action());
  out.cause = CauseIf(in.has_cause(), in.cause());
  if (in.has_suspended()) {
    const v1::Suspension& suspended = in.suspended();
    out.suspended = Suspension{FromProto(suspended.by()), suspended.by_administrator(),
                               suspended.why(), TimeIf(suspended.has_since(), suspended.since())};
  }
  out.generation = GenerationIf(in.has_generation(), in.generation());
  out.next_generation = GenerationIf(in.has_next_generation(), in.next_generation());
  out.scopes = Strings(in.scopes());
  out.token_endpoint = in.token_endpoint();
  out.created_at = TimeIf(in.has_created_at(), in.created_at());
  out.last_token_at = TimeIf(in.has_last_token_at(), in.last_token_at());
  out.next_attempt_at = TimeIf(in.has_next_attempt_at(), in.next_attempt_at());
  out.patient = in.patient();
  out.fhir_user = in.fhir_user();
  out.other_patient = in.other_patient();
  out.other_fhir_user = in.other_fhir_user();
  out.context_varies = in.context_varies();
  if (in.has_expected_end() && in.expected_end().has_time()) {
    out.expected_end = ExpectedEnd{*TimeIf(true, in.expected_end().time()),
                                   static_cast<EndSource>(in.expected_end().source())};
  }
  out.warnings = WarningNames(in.warnings());
  out.operations = OperationNames(in.operations());
  for (const v1::Share& share : in.shares()) out.shares.push_back(FromProto(share));
  out.shares_only = in.shares_only();
  out.management_url = in.management_url();
  return out;
}

Share FromProto(const v1::Share& in) {
  Share out;
  out.principal = in.principal().text();
  out.operations = OperationNames(in.operations());
  out.scopes = Strings(in.scopes());
  out.expires_at = TimeIf(in.has_expires_at(), in.expires_at());
  out.created_at = TimeIf(in.has_created_at(), in.created_at());
  if (in.has_made_by()) out.made_by = FromProto(in.made_by());
  out.policy = in.policy();
  return out;
}

AccessRequest FromProto(const v1::AccessRequest& in) {
  AccessRequest out;
  out.id = in.request_id();
  out.principal = in.principal().text();
  out.registration_id = in.registration_id();
  out.operations = OperationNames(in.operations());
  out.scopes = Strings(in.scopes());
  out.reason = in.reason();
  out.created_at = TimeIf(in.has_created_at(), in.created_at());
  out.expires_at = TimeIf(in.has_expires_at(), in.expires_at());
  return out;
}

AccessAnswer FromProto(const v1::RequestAccessResponse& in) {
  return {in.request_id(), static_cast<AccessRequestState>(in.state()), in.registration_id()};
}

AccessExplanation FromProto(const v1::ExplainAccessResponse& in) {
  return {OperationNames(in.operations()), Strings(in.scopes()), Strings(in.facts()),
          Strings(in.steps())};
}

BegunEnrollment FromProto(const v1::BeginEnrollmentResponse& in) {
  BegunEnrollment out;
  out.enrollment_id = in.enrollment_id();
  out.registration_id = in.registration_id();
  out.authorization_url = in.authorization_url();
  out.redirect_uri = in.redirect_uri();
  out.expires_at = TimeIf(in.has_expires_at(), in.expires_at());
  out.client_id = in.client_id();
  out.server = in.server();
  out.app = in.app();
  out.authorization_host = in.authorization_host();
  out.token_host = in.token_host();
  out.fhir_base = in.fhir_base();
  out.scopes = Strings(in.scopes());
  out.warnings = WarningNames(in.warnings());
  return out;
}

EnrollmentProgress FromProto(const v1::WatchEnrollmentResponse& in) {
  EnrollmentProgress out;
  out.step = static_cast<EnrollmentStep>(in.step());
  out.key_ready = in.key_ready();
  if (in.has_registration()) out.registration = FromProto(in.registration());
  out.error = CauseIf(in.has_error(), in.error());
  out.message = in.message();
  return out;
}

Deletion FromProto(const v1::DeleteRegistrationResponse& in) {
  return {in.registration_id(), in.server_may_still_list(), in.management_url(), in.key_destroyed(),
          in.tokens_revoked()};
}

RegistrationEvent FromProto(const v1::WatchRegistrationsResponse& in) {
  RegistrationEvent out;
  out.event = static_cast<WatchEvent>(in.event());
  if (in.has_registration()) out.registration = FromProto(in.registration());
  out.ending_days = in.ending_days();
  return out;
}

google::protobuf::Duration ToProto(absl::Duration in) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(in, absl::Seconds(1), &in));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(in)));
  return out;
}

Jwks FromProto(const v1::GetJwksResponse& in) {
  return {in.jwks(), in.app_jwt_jwks()};
}

Server FromProto(const v1::Server& in) {
  return {in.name(), in.fhir_base(), in.profile(), Strings(in.apps()), in.refusing_all()};
}

App FromProto(const v1::App& in) {
  App out;
  out.id = in.id();
  out.name = in.name();
  out.redirect_uris = Strings(in.redirect_uris());
  out.scopes = Strings(in.scopes());
  for (const auto& client : in.clients()) {
    out.clients.push_back({Strings(client.servers()), client.client_id(), client.software_id()});
  }
  return out;
}

Hardware FromProto(const v1::Hardware& in) {
  Hardware out;
  out.state = static_cast<HardwareState>(in.state());
  out.provider = static_cast<KeyProviderType>(in.provider());
  out.algorithms = Strings(in.algorithms());
  out.description = in.description();
  out.cause = CauseIf(in.has_cause(), in.cause());
  out.since = TimeIf(in.has_since(), in.since());
  return out;
}

DaemonInfo FromProto(const v1::GetServerInfoResponse& in) {
  DaemonInfo out;
  out.version = in.version();
  out.features = Strings(in.features());
  out.hardware = FromProto(in.hardware());
  out.instance_id = in.instance_id();
  out.admin = in.admin();
  out.store_available = !in.has_store() || in.store().available();
  out.store_cause = CauseIf(in.store().has_cause(), in.store().cause());
  out.store_problem = in.store().problem();
  return out;
}

AccessToken TakeFromProto(v1::GetAccessTokenResponse& in) {
  AccessToken out;
  out.token = Secret(std::move(*in.mutable_access_token()));
  out.type = in.token_type();
  out.expires_at = TimeIf(in.has_expires_at(), in.expires_at());
  out.refresh_after = TimeIf(in.has_refresh_after(), in.refresh_after());
  out.source = static_cast<TokenSource>(in.source());
  out.scope = in.scope();
  out.scope_assumed = in.scope_assumed();
  out.scope_narrowed = in.scope_narrowed();
  out.fhir_base = in.fhir_base();
  out.patient = in.patient();
  out.fhir_user = in.fhir_user();
  out.launch_context = in.launch_context();
  out.registration = in.registration();
  out.generation = in.generation();
  out.min_valid_unmet = in.min_valid_unmet();
  out.refresh_error = CauseIf(in.has_refresh_error(), in.refresh_error());
  return out;
}

ClientAssertion TakeFromProto(v1::SignClientAssertionResponse& in) {
  ClientAssertion out;
  out.assertion = Secret(std::move(*in.mutable_assertion()));
  out.expires_at = TimeIf(in.has_expires_at(), in.expires_at());
  out.client_id = in.client_id();
  out.token_endpoint = in.token_endpoint();
  out.jti = in.jti();
  return out;
}

namespace {

ServerHealth FromProto(const v1::ServerStatus& in) {
  ServerHealth out;
  out.name = in.name();
  if (in.state() != v1::ServerStatus::STATE_UNSPECIFIED) {
    out.state = v1::ServerStatus::State_Name(in.state());
  }
  out.last_ok_at = TimeIf(in.has_last_ok_at(), in.last_ok_at());
  out.last_error = CauseIf(in.has_last_error(), in.last_error());
  out.last_error_at = TimeIf(in.has_last_error_at(), in.last_error_at());
  out.next_attempt_at = TimeIf(in.has_next_attempt_at(), in.next_attempt_at());
  out.registrations = in.registrations();
  return out;
}

}  // namespace

StoreCopy FromProto(const v1::StoreCopy& in) {
  return {in.file(), TimeIf(in.has_made_at(), in.made_at())};
}

ConfigProblem FromProto(const v1::ConfigProblem& in) {
  return {in.file(), in.line(), in.message(), in.file_disabled()};
}

ConfigReload FromProto(const v1::ReloadConfigurationResponse& in) {
  ConfigReload out;
  out.changes.assign(in.changes().begin(), in.changes().end());
  out.needs_restart.assign(in.needs_restart().begin(), in.needs_restart().end());
  for (const auto& problem : in.problems()) out.problems.push_back(FromProto(problem));
  return out;
}

AuditEntry FromProto(const v1::AuditEntry& in) {
  AuditEntry out;
  out.sequence = in.sequence();
  out.time = TimeIf(true, in.time()).value();
  if (in.has_user()) out.user = FromProto(in.user());
  if (in.has_login()) out.login = FromProto(in.login());
  out.pid = in.pid();
  out.unit = in.unit();
  out.executable = in.executable();
  out.admin = in.admin();
  out.operation = in.operation();
  out.registration = in.registration_id();
  out.outcome = in.outcome() == v1::ErrorDetail::REASON_UNSPECIFIED
                    ? "OK"
                    : v1::ErrorDetail::Reason_Name(in.outcome());
  out.repeats = in.repeats();
  out.facts.insert(in.facts().begin(), in.facts().end());
  out.hash = in.hash();
  return out;
}

AuditVerification FromProto(const v1::ReadAuditLogResponse& in) {
  AuditVerification out;
  out.entries = in.verified_entries();
  if (in.has_first_broken()) out.first_broken = in.first_broken();
  const v1::AuditVerification& found = in.verification();
  out.first_sequence = found.first_sequence();
  out.head = found.head();
  out.signed_checkpoints = found.signed_checkpoints();
  out.unsigned_checkpoints = found.unsigned_checkpoints();
  out.signed_sequence = found.signed_sequence();
  out.key_thumbprints = Strings(found.key_thumbprints());
  out.anchored_sequence = found.anchored_sequence();
  out.problems = Strings(found.problems());
  return out;
}

DiagnosticResult FromProto(const v1::RunDiagnosticsResponse& in) {
  DiagnosticResult out;
  out.number = in.number();
  out.area = in.area();
  out.check = in.check();
  out.outcome = v1::RunDiagnosticsResponse::Outcome_Name(in.outcome());
  out.finding = in.finding();
  out.remedy = in.remedy();
  out.took = absl::Seconds(in.took().seconds()) + absl::Nanoseconds(in.took().nanos());
  return out;
}

DaemonStatus FromProto(const v1::GetStatusResponse& in) {
  DaemonStatus out;
  out.version = in.version();
  out.pid = in.pid();
  out.uptime = absl::Seconds(in.uptime().seconds()) + absl::Nanoseconds(in.uptime().nanos());
  out.hardware = FromProto(in.hardware().hardware());
  out.hardware_detail = in.hardware().detail();
  out.hardware_problem = in.hardware().problem();
  out.queue_depth = in.hardware().queue_depth();
  out.queue_limit = in.hardware().queue_limit();
  out.abandoned_operations = in.hardware().abandoned_operations();
  out.hardware_next_attempt_at =
      TimeIf(in.hardware().has_next_attempt_at(), in.hardware().next_attempt_at());
  out.store_available = in.store().available();
  out.store_cause = CauseIf(in.store().has_cause(), in.store().cause());
  out.schema_version = in.store().schema_version();
  out.unsaved_changes = in.store().unsaved_changes();
  for (const auto& copy : in.store().copies()) out.store_copies.push_back(FromProto(copy));
  out.store_problem = in.store().problem();
  out.store_copying_error = CauseIf(in.store().has_copying_error(), in.store().copying_error());
  out.store_set_aside = Strings(in.store().set_aside());
  out.store_of_another_machine = in.store().of_another_machine();
  out.audit_available = in.audit().available();
  out.audit_cause = CauseIf(in.audit().has_cause(), in.audit().cause());
  out.audit_head = in.audit().head();
  out.audit_lost = in.audit().lost();
  out.audit_waiting = in.audit().waiting();
  out.audit_checkpoint = in.audit().checkpoint();
  out.audit_checkpoint_at = TimeIf(in.audit().has_checkpoint_at(), in.audit().checkpoint_at());
  out.audit_checkpoint_error =
      CauseIf(in.audit().has_checkpoint_error(), in.audit().checkpoint_error());
  for (const auto& count : in.registrations()) {
    out.registrations.push_back({static_cast<RegistrationState>(count.state()), count.count()});
  }
  out.suspended_registrations = in.suspended_registrations();
  out.pending_enrollments = in.pending_enrollments();
  out.public_connections = in.connections().public_connections();
  out.admin_connections = in.connections().admin_connections();
  out.accepted_connections = in.connections().accepted();
  out.refused_connections = in.connections().refused();
  out.cached_tokens = in.cache().entries();
  out.cache_hits = in.cache().hits();
  out.cache_misses = in.cache().misses();
  out.token_requests = in.cache().token_requests();
  out.token_requests_in_flight = in.cache().in_flight();
  for (const auto& server : in.servers()) out.servers.push_back(FromProto(server));
  for (const auto& problem : in.config_problems()) {
    out.config_problems.push_back(FromProto(problem));
  }
  for (const auto& problem : in.reload_errors()) out.reload_errors.push_back(FromProto(problem));
  out.config_loaded_at = TimeIf(in.has_config_loaded_at(), in.config_loaded_at());
  return out;
}

}  // namespace smartkey::client
