// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/status_message.h"

#include <unistd.h>

#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/server_info_service.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

void FillHardwareStatus(const ServiceParts& parts, v1::HardwareStatus* hardware) {
  const ProviderStatus keys = parts.keys.status();
  FillHardware(keys, parts.info.key_provider, parts.clock, hardware->mutable_hardware());
  if (keys.capabilities.has_value() && keys.state != ProviderState::kAbsent) {
    hardware->set_detail(keys.capabilities->detail);
  }
  if (keys.state != ProviderState::kReady) {
    hardware->set_problem(Printable(keys.last_error.message(), 1024));
  }
  hardware->set_queue_depth(keys.queued);
  hardware->set_queue_limit(keys.queue_limit);
  hardware->set_abandoned_operations(keys.abandoned);
  if (keys.next_attempt.has_value()) {
    SetTime(parts.clock.Now() + (*keys.next_attempt - parts.clock.Boot()), hardware,
            &v1::HardwareStatus::mutable_next_attempt_at);
  }
}

void FillAudit(const ServiceParts& parts, v1::AuditStatus* audit) {
  const AuditCondition condition = parts.audit.condition();
  audit->set_available(condition.writing.ok());
  if (!condition.writing.ok()) *audit->mutable_cause() = ToErrorDetail(condition.writing);
  if (condition.head.sequence > 0) audit->set_head(condition.head.ToString());
  audit->set_lost(condition.lost);
  audit->set_waiting(static_cast<uint32_t>(condition.waiting));
  if (condition.checkpoint.has_value()) {
    audit->set_checkpoint(condition.checkpoint->ToString());
    SetTime(condition.checkpoint_at, audit, &v1::AuditStatus::mutable_checkpoint_at);
  }
  if (!condition.signing.ok()) {
    *audit->mutable_checkpoint_error() = ToErrorDetail(condition.signing);
  }
}

void FillRegistrations(const ServiceParts& parts, v1::GetStatusResponse* response) {
  std::map<GenerationState, int> counts;
  int suspended = 0;
  for (const RegistrationStore::Snapshot& one : parts.store.List()) {
    ++counts[parts.standings.StateOf(*one)];
    if (one->suspension.has_value()) ++suspended;
  }
  for (const auto& [state, count] : counts) {
    v1::StateCount* message = response->add_registrations();
    message->set_state(static_cast<v1::RegistrationState>(state));
    message->set_count(count);
  }
  response->set_suspended_registrations(suspended);
}

// What the token manager knows of endpoints, told by the servers whose registrations use them.
void FillServers(const ServiceParts& parts, v1::GetStatusResponse* response) {
  const TokenManagerStatus tokens = parts.tokens.status();
  response->mutable_cache()->set_entries(tokens.cached_tokens);
  response->mutable_cache()->set_hits(tokens.hits);
  response->mutable_cache()->set_misses(tokens.mints + tokens.failures);
  response->mutable_cache()->set_token_requests(tokens.mints + tokens.failures);
  response->mutable_cache()->set_in_flight(tokens.flights);

  std::map<std::string, v1::ServerStatus> servers;
  const std::shared_ptr<const Catalog> catalog = parts.catalog.Get();  // a reload may swap it
  for (const Server& server : catalog->servers) {
    servers[server.name].set_name(server.name);
  }
  std::map<std::string, std::string> server_of;  // by token endpoint
  for (const RegistrationStore::Snapshot& one : parts.store.List()) {
    const std::string name = parts.standings.ServerNameOf(*one);
    v1::ServerStatus& status = servers[name];
    if (status.name().empty()) {
      status.set_name(name);
      status.set_state(v1::ServerStatus::REMOVED);
    }
    status.set_registrations(status.registrations() + 1);
    for (const Generation& generation : one->generations) {
      server_of[generation.token_endpoint] = name;
    }
  }
  for (const std::string& name : parts.standings.ServersRefusingAll()) {
    v1::ServerStatus& status = servers[name];
    if (status.state() != v1::ServerStatus::REMOVED) {
      status.set_state(v1::ServerStatus::REFUSING_ALL);
    }
  }
  for (const ServerStatus& endpoint : tokens.servers) {
    const auto found = server_of.find(endpoint.token_endpoint);
    if (found == server_of.end()) continue;
    v1::ServerStatus& status = servers[found->second];
    SetTime(endpoint.last_success, &status, &v1::ServerStatus::mutable_last_ok_at);
    SetTime(endpoint.next_attempt, &status, &v1::ServerStatus::mutable_next_attempt_at);
    if (!endpoint.last_error.ok()) {
      *status.mutable_last_error() = ToErrorDetail(endpoint.last_error);
    }
    SetTime(endpoint.last_error.ok() ? absl::InfinitePast() : endpoint.last_error_at, &status,
            &v1::ServerStatus::mutable_last_error_at);
    if (status.state() == v1::ServerStatus::REMOVED ||
        status.state() == v1::ServerStatus::REFUSING_ALL) {
      continue;
    }
    if (!endpoint.last_error.ok()) {
      status.set_state(v1::ServerStatus::FAILING);
    } else if (endpoint.last_success != absl::InfinitePast()) {
      status.set_state(v1::ServerStatus::OK);
    }
  }
  for (auto& [name, status] : servers) *response->add_servers() = std::move(status);
}

void FillStore(const ServiceParts& parts, v1::StoreStatus* response) {
  const absl::Status health = parts.store.health();
  response->set_available(health.ok());
  if (!health.ok()) {
    *response->mutable_cause() = ToErrorDetail(health);
    response->set_problem(Printable(health.message()));
  }
  response->set_unsaved_changes(static_cast<uint32_t>(parts.enrollments.unsaved()));
  const StoreCondition condition = parts.maintenance.condition();
  response->set_schema_version(static_cast<uint32_t>(condition.schema_version));
  for (const StoreCopy& copy : condition.copies) FillCopy(copy, response->add_copies());
  if (!condition.copying.ok()) {
    *response->mutable_copying_error() = ToErrorDetail(condition.copying);
  }
  for (const std::string& folder : condition.set_aside) response->add_set_aside(folder);
  response->set_of_another_machine(condition.of_another_machine);
}

}  // namespace

void FillProblem(const ConfigProblem& problem, bool file_disabled, v1::ConfigProblem* message) {
  message->set_file(Printable(problem.file, 1024));
  message->set_line(problem.line);
  message->set_message(Printable(problem.message, 1024));
  message->set_file_disabled(file_disabled);
}

void FillCopy(const StoreCopy& copy, v1::StoreCopy* message) {
  message->set_file(copy.file);
  SetTime(copy.made_at, message, &v1::StoreCopy::mutable_made_at);
}

void FillStatus(const ServiceParts& parts, v1::GetStatusResponse* response) {
  const ServiceInfo& info = parts.info;
  response->set_version(info.version);
  response->set_pid(getpid());
  SetDuration(parts.clock.Boot() - info.started, response->mutable_uptime());

  FillHardwareStatus(parts, response->mutable_hardware());

  FillStore(parts, response->mutable_store());
  FillRegistrations(parts, response);
  FillServers(parts, response);
  response->set_pending_enrollments(parts.enrollments.pending());

  if (info.connections) {
    const ConnectionServer::Stats stats = info.connections();
    response->mutable_connections()->set_public_connections(stats.public_connections);
    response->mutable_connections()->set_admin_connections(stats.admin_connections);
    response->mutable_connections()->set_accepted(stats.accepted);
    response->mutable_connections()->set_refused(stats.refused);
  }
  const ConfigState config = parts.config.state();
  SetTime(config.loaded_at, response, &v1::GetStatusResponse::mutable_config_loaded_at);
  for (const ConfigProblem& problem : config.problems) {
    FillProblem(problem, /*file_disabled=*/true, response->add_config_problems());
  }
  for (const ConfigProblem& problem : config.reload_errors) {
    FillProblem(problem, /*file_disabled=*/false, response->add_reload_errors());
  }
  FillAudit(parts, response->mutable_audit());
}

}  // namespace smartkey
