// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/json_output.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "base/json.h"

namespace smartkey::ctl {
namespace {

using nlohmann::json;

constexpr int kFormatVersion = 1;

void Set(json& object, const char* key, const std::string& value) {
  if (!value.empty()) object[key] = value;
}

void Set(json& object, const char* key, const absl::optional<absl::Time>& time) {
  if (!time.has_value()) return;
  object[key] = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *time, absl::UTCTimeZone());
}

void Set(json& object, const char* key, const absl::optional<client::Cause>& cause) {
  if (cause.has_value()) object[key] = ToJson(*cause);
}

void SetSeconds(json& object, const char* key, const absl::optional<absl::Duration>& duration) {
  if (!duration.has_value()) return;
  object[key] = absl::ToInt64Seconds(absl::Ceil(*duration, absl::Seconds(1)));
}

// JSON text of the daemon as a value; text that is none stays text.
void SetJsonText(json& object, const char* key, const std::string& text) {
  if (text.empty()) return;
  auto parsed = ParseJson(text);
  object[key] = parsed.ok() ? *std::move(parsed) : json(text);
}

std::string Text(absl::string_view view) {
  return std::string(view);
}

json UserJson(const client::User& user) {
  json out = {{"uid", user.uid}};
  Set(out, "name", user.name);
  return out;
}

json GenerationJson(const client::Generation& generation) {
  json out = {{"number", generation.number}, {"state", Text(Name(generation.state))}};
  Set(out, "client_id", generation.client_id);
  if (generation.key.has_value()) out["key"] = ToJson(*generation.key);
  Set(out, "created_at", generation.created_at);
  Set(out, "registered_at", generation.registered_at);
  Set(out, "first_token_at", generation.first_token_at);
  return out;
}

json SuspensionJson(const client::Suspension& suspension) {
  json out = {{"by", UserJson(suspension.by)}, {"by_administrator", suspension.by_administrator}};
  Set(out, "why", suspension.why);
  Set(out, "since", suspension.since);
  return out;
}

json ProblemsToJson(const std::vector<client::ConfigProblem>& problems) {
  json out = json::array();
  for (const client::ConfigProblem& problem : problems) {
    out.push_back({{"file", problem.file},
                   {"line", problem.line},
                   {"message", problem.message},
                   {"file_disabled", problem.file_disabled}});
  }
  return out;
}

}  // namespace

json ToJson(const absl::Status& error) {
  const ReasonRow& row = RowFor(ReasonOf(error));
  json out = {{"reason", Text(row.name)},
              {"user_action", Text(RowFor(row.action).name)},
              {"message", Text(error.message())},
              {"remedy", RemedyOf(error)},
              {"exit_code", static_cast<int>(row.exit_code)}};
  SetSeconds(out, "retry_after_seconds", RetryAfterOf(error));
  return out;
}

json ToJson(const client::Cause& cause) {
  json out = {{"reason", Text(ReasonName(cause.reason))}, {"remedy", cause.remedy}};
  SetSeconds(out, "retry_after_seconds", cause.retry_after);
  return out;
}

json ToJson(const client::Share& in) {
  json out = {{"principal", in.principal}, {"operations", in.operations}, {"scopes", in.scopes}};
  Set(out, "expires_at", in.expires_at);
  Set(out, "created_at", in.created_at);
  if (in.made_by.has_value()) out["made_by"] = UserJson(*in.made_by);
  Set(out, "policy", in.policy);
  return out;
}

json ToJson(const client::AccessRequest& in) {
  json out = {{"request_id", in.id},
              {"principal", in.principal},
              {"registration_id", in.registration_id},
              {"operations", in.operations},
              {"scopes", in.scopes},
              {"reason", in.reason}};
  Set(out, "created_at", in.created_at);
  Set(out, "expires_at", in.expires_at);
  return out;
}

json ToJson(const client::AccessAnswer& in) {
  json out = {{"request_id", in.request_id}, {"state", Text(Name(in.state))}};
  Set(out, "registration_id", in.registration_id);
  return out;
}

json ToJson(const client::AccessExplanation& in) {
  return {{"operations", in.operations},
          {"scopes", in.scopes},
          {"facts", in.facts},
          {"steps", in.steps}};
}

json ToJson(const client::Registration& in) {
  json out = {{"id", in.id},
              {"name", in.name},
              {"owner", UserJson(in.owner)},
              {"relation", Text(Name(in.relation))},
              {"app", in.app},
              {"server", in.server},
              {"fhir_base", in.fhir_base},
              {"state", Text(Name(in.state))},
              {"state_words", in.state_words},
              {"user_action", Text(RowFor(in.user_action).name)},
              {"scopes", in.scopes},
              {"context_varies", in.context_varies},
              {"warnings", in.warnings},
              {"operations", in.operations},
              {"shares", json::array()},
              {"shares_only", in.shares_only}};
  for (const client::Share& share : in.shares) out["shares"].push_back(ToJson(share));
  Set(out, "label", in.label);
  Set(out, "cause", in.cause);
  if (in.suspended.has_value()) out["suspended"] = SuspensionJson(*in.suspended);
  if (in.generation.has_value()) out["generation"] = GenerationJson(*in.generation);
  if (in.next_generation.has_value()) out["next_generation"] = GenerationJson(*in.next_generation);
  Set(out, "token_endpoint", in.token_endpoint);
  Set(out, "created_at", in.created_at);
  Set(out, "last_token_at", in.last_token_at);
  Set(out, "next_attempt_at", in.next_attempt_at);
  Set(out, "patient", in.patient);
  Set(out, "fhir_user", in.fhir_user);
  if (in.expected_end.has_value()) {
    out["expected_end"] = {{"source", Text(Name(in.expected_end->source))}};
    Set(out["expected_end"], "time", in.expected_end->time);
  }
  Set(out, "other_patient", in.other_patient);
  Set(out, "other_fhir_user", in.other_fhir_user);
  Set(out, "management_url", in.management_url);
  return out;
}

json ToJson(const client::Server& in) {
  return {{"name", in.name},
          {"fhir_base", in.fhir_base},
          {"profile", in.profile},
          {"apps", in.apps},
          {"refusing_all", in.refusing_all}};
}

json ToJson(const client::App& in) {
  json out = {{"id", in.id},
              {"name", in.name},
              {"redirect_uris", in.redirect_uris},
              {"scopes", in.scopes},
              {"clients", json::array()}};
  for (const auto& client : in.clients) {
    out["clients"].push_back({{"servers", client.servers},
                              {"client_id", client.client_id},
                              {"software_id", client.software_id}});
  }
  return out;
}

json ToJson(const client::Hardware& in) {
  json out = {{"state", Text(Name(in.state))},
              {"provider", Text(Name(in.provider))},
              {"algorithms", in.algorithms}};
  Set(out, "description", in.description);
  Set(out, "cause", in.cause);
  Set(out, "since", in.since);
  return out;
}

json ToJson(const client::Key& key) {
  json out = {{"algorithm", key.algorithm},
              {"thumbprint", key.thumbprint},
              {"provider", Text(Name(key.provider))},
              {"attributes", json::object()}};
  for (const auto& [name, value] : key.attributes) out["attributes"][name] = value;
  SetJsonText(out, "public_jwk", key.public_jwk);
  // For other tools, which take standard base64: `tpm2_print -t TPM2B_PUBLIC`.
  Set(out, "tpm_public", absl::Base64Escape(key.tpm_public));
  Set(out, "created_at", key.created_at);
  return out;
}

json ToJson(const client::StoredKeys::Key& key) {
  json out = {{"label", key.label}, {"stray", key.stray}};
  Set(out, "id", absl::BytesToHexString(key.id));
  Set(out, "registration", key.registration_id);
  if (key.generation > 0) out["generation"] = key.generation;
  return out;
}

json ToJson(const client::StoredKeys& stored) {
  json keys = json::array();
  for (const client::StoredKeys::Key& key : stored.keys) {
    keys.push_back(ToJson(key));
  }
  return {{"keys", std::move(keys)}, {"of_other_instances", stored.of_other_instances}};
}

json ToJson(const client::StoreCopy& in) {
  json out = {{"file", in.file}};
  Set(out, "made_at", in.made_at);
  return out;
}

json ToJson(const client::StoreRecovery& in) {
  json out = {{"from_memory", in.from_memory},
              {"from_damaged_file", in.from_damaged_file},
              {"from_copy", in.from_copy},
              {"incomplete", in.incomplete}};
  if (in.copy.has_value()) out["copy"] = ToJson(*in.copy);
  Set(out, "set_aside", in.set_aside);
  return out;
}

json StoreToJson(const client::DaemonStatus& in) {
  json out = {
      {"available", in.store_available},       {"schema_version", in.schema_version},
      {"unsaved_changes", in.unsaved_changes}, {"copies", json::array()},
      {"set_aside", in.store_set_aside},       {"of_another_machine", in.store_of_another_machine}};
  Set(out, "cause", in.store_cause);
  Set(out, "problem", in.store_problem);
  for (const client::StoreCopy& copy : in.store_copies) out["copies"].push_back(ToJson(copy));
  Set(out, "copying_error", in.store_copying_error);
  return out;
}

json ToJson(const client::DaemonStatus& in) {
  json out = {{"daemon_version", in.version},
              {"pid", in.pid},
              {"hardware", ToJson(in.hardware)},
              {"store", StoreToJson(in)},
              {"registrations", json::object()},
              {"suspended_registrations", in.suspended_registrations},
              {"pending_enrollments", in.pending_enrollments},
              {"connections",
               {{"public", in.public_connections},
                {"admin", in.admin_connections},
                {"accepted", in.accepted_connections},
                {"refused", in.refused_connections}}},
              {"cache",
               {{"entries", in.cached_tokens},
                {"hits", in.cache_hits},
                {"misses", in.cache_misses},
                {"token_requests", in.token_requests},
                {"in_flight", in.token_requests_in_flight}}},
              {"servers", json::array()},
              {"config_problems", ProblemsToJson(in.config_problems)},
              {"reload_errors", ProblemsToJson(in.reload_errors)}};
  SetSeconds(out, "uptime_seconds", in.uptime);
  Set(out["hardware"], "detail", in.hardware_detail);
  Set(out["hardware"], "problem", in.hardware_problem);
  out["hardware"]["queue_depth"] = in.queue_depth;
  out["hardware"]["queue_limit"] = in.queue_limit;
  out["hardware"]["abandoned_operations"] = in.abandoned_operations;
  Set(out["hardware"], "next_attempt_at", in.hardware_next_attempt_at);
  for (const auto& count : in.registrations) {
    out["registrations"][Text(Name(count.state))] = count.count;
  }
  for (const auto& server : in.servers) {
    json health = {{"name", server.name}, {"registrations", server.registrations}};
    Set(health, "state", server.state);
    Set(health, "last_ok_at", server.last_ok_at);
    Set(health, "last_error", server.last_error);
    Set(health, "last_error_at", server.last_error_at);
    Set(health, "next_attempt_at", server.next_attempt_at);
    out["servers"].push_back(std::move(health));
  }
  Set(out, "config_loaded_at", in.config_loaded_at);
  out["audit"] = {
      {"available", in.audit_available}, {"lost", in.audit_lost}, {"waiting", in.audit_waiting}};
  Set(out["audit"], "cause", in.audit_cause);
  Set(out["audit"], "head", in.audit_head);
  Set(out["audit"], "checkpoint", in.audit_checkpoint);
  Set(out["audit"], "checkpoint_at", in.audit_checkpoint_at);
  Set(out["audit"], "checkpoint_error", in.audit_checkpoint_error);
  return out;
}

json ToJson(const client::ConfigReload& in) {
  return {{"changes", in.changes},
          {"needs_restart", in.needs_restart},
          {"problems", ProblemsToJson(in.problems)}};
}

json ToJson(const client::AuditEntry& in) {
  json out = {{"sequence", in.sequence}, {"operation", in.operation}, {"outcome", in.outcome},
              {"admin", in.admin},       {"facts", in.facts},         {"hash", in.hash}};
  Set(out, "time", absl::make_optional(in.time));
  if (in.user.has_value()) out["user"] = {{"uid", in.user->uid}, {"name", in.user->name}};
  if (in.login.has_value()) out["login"] = {{"uid", in.login->uid}, {"name", in.login->name}};
  if (in.pid > 0) out["pid"] = in.pid;
  Set(out, "unit", in.unit);
  Set(out, "executable", in.executable);
  Set(out, "registration", in.registration);
  if (in.repeats > 0) out["repeats"] = in.repeats;
  return out;
}

json ToJson(const client::AuditVerification& in) {
  json out = {{"entries", in.entries},
              {"first_sequence", in.first_sequence},
              {"head", in.head},
              {"signed_checkpoints", in.signed_checkpoints},
              {"unsigned_checkpoints", in.unsigned_checkpoints},
              {"signed_sequence", in.signed_sequence},
              {"key_thumbprints", in.key_thumbprints},
              {"anchored_sequence", in.anchored_sequence},
              {"problems", in.problems}};
  if (in.first_broken.has_value()) out["first_broken"] = *in.first_broken;
  return out;
}

json ToJson(const client::DiagnosticResult& in) {
  json out = {{"number", in.number},
              {"area", in.area},
              {"check", in.check},
              {"outcome", in.outcome},
              {"finding", in.finding}};
  Set(out, "remedy", in.remedy);
  return out;
}

json RevealToJson(const client::AccessToken& in) {
  json out = {{"access_token", Text(in.token.RevealSecret())},
              {"token_type", in.type},
              {"source", Text(Name(in.source))},
              {"scope", in.scope},
              {"scope_assumed", in.scope_assumed},
              {"scope_narrowed", in.scope_narrowed},
              {"fhir_base", in.fhir_base},
              {"registration", in.registration},
              {"generation", in.generation},
              {"min_valid_unmet", in.min_valid_unmet}};
  Set(out, "expires_at", in.expires_at);
  Set(out, "refresh_after", in.refresh_after);
  Set(out, "patient", in.patient);
  Set(out, "fhir_user", in.fhir_user);
  SetJsonText(out, "launch_context", in.launch_context);
  Set(out, "refresh_error", in.refresh_error);
  return out;
}

json RevealToJson(const client::ClientAssertion& in) {
  json out = {{"assertion", Text(in.assertion.RevealSecret())},
              {"client_id", in.client_id},
              {"token_endpoint", in.token_endpoint},
              {"jti", in.jti}};
  Set(out, "expires_at", in.expires_at);
  return out;
}

std::string ToJsonDocument(json content) {
  content["version"] = kFormatVersion;
  // ASCII: no control character of anybody's text reaches a terminal, C1 ones included.
  return content.dump(2, ' ', true, json::error_handler_t::replace) + "\n";
}

std::string ToJsonLine(json content) {
  content["version"] = kFormatVersion;
  return content.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
}

}  // namespace smartkey::ctl
