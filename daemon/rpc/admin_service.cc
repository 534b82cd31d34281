// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/admin_service.h"

#include <unistd.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/enrollment/stray_keys.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/server_info_service.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {

namespace {
constexpr absl::Duration kHardwareLimit = absl::Seconds(30);
constexpr absl::Duration kFilesLimit = absl::Seconds(30);

void FillStoredKey(const StoredKey& key, v1::StoredKey* message) {
  message->set_label(Printable(key.label));
  message->set_registration_id(key.registration_id);
  message->set_generation(key.generation);
  message->set_stray(key.stray);
  message->set_id(key.id);
}

void FillProblem(const ConfigProblem& problem, bool file_disabled, v1::ConfigProblem* message) {
  message->set_file(Printable(problem.file, 1024));
  message->set_line(problem.line);
  message->set_message(Printable(problem.message, 1024));
  message->set_file_disabled(file_disabled);
}
}  // namespace

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* context,
                                                  const v1::GetStatusRequest*,
                                                  v1::GetStatusResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  const ServiceInfo& info = parts_.info;
  response->set_version(info.version);
  response->set_pid(getpid());
  SetDuration(parts_.clock.Boot() - info.started, response->mutable_uptime());

  FillHardwareStatus(response->mutable_hardware());

  FillStore(response->mutable_store());
  FillRegistrations(response);
  FillServers(response);
  response->set_pending_enrollments(parts_.enrollments.pending());

  if (info.connections) {
    const ConnectionServer::Stats stats = info.connections();
    response->mutable_connections()->set_public_connections(stats.public_connections);
    response->mutable_connections()->set_admin_connections(stats.admin_connections);
    response->mutable_connections()->set_accepted(stats.accepted);
    response->mutable_connections()->set_refused(stats.refused);
  }
  const ConfigState config = parts_.config.state();
  SetTime(config.loaded_at, response, &v1::GetStatusResponse::mutable_config_loaded_at);
  for (const ConfigProblem& problem : config.problems) {
    FillProblem(problem, /*file_disabled=*/true, response->add_config_problems());
  }
  for (const ConfigProblem& problem : config.reload_errors) {
    FillProblem(problem, /*file_disabled=*/false, response->add_reload_errors());
  }
  return FinishNow(context, absl::OkStatus());
}

void AdminService::FillHardwareStatus(v1::HardwareStatus* hardware) const {
  const ProviderStatus keys = parts_.keys.status();
  FillHardware(keys, parts_.info.key_provider, parts_.clock, hardware->mutable_hardware());
  if (keys.capabilities.has_value() && keys.state != ProviderState::kAbsent) {
    hardware->set_detail(keys.capabilities->detail);
  }
  hardware->set_queue_depth(keys.queued);
  hardware->set_queue_limit(keys.queue_limit);
  hardware->set_abandoned_operations(keys.abandoned);
  if (keys.next_attempt.has_value()) {
    SetTime(parts_.clock.Now() + (*keys.next_attempt - parts_.clock.Boot()), hardware,
            &v1::HardwareStatus::mutable_next_attempt_at);
  }
}

void AdminService::FillRegistrations(v1::GetStatusResponse* response) const {
  std::map<GenerationState, int> counts;
  int suspended = 0;
  for (const RegistrationStore::Snapshot& one : parts_.store.List()) {
    ++counts[parts_.standings.StateOf(*one)];
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
void AdminService::FillServers(v1::GetStatusResponse* response) const {
  const TokenManagerStatus tokens = parts_.tokens.status();
  response->mutable_cache()->set_entries(tokens.cached_tokens);
  response->mutable_cache()->set_hits(tokens.hits);
  response->mutable_cache()->set_misses(tokens.mints + tokens.failures);
  response->mutable_cache()->set_token_requests(tokens.mints + tokens.failures);
  response->mutable_cache()->set_in_flight(tokens.flights);

  std::map<std::string, v1::ServerStatus> servers;
  const std::shared_ptr<const Catalog> catalog = parts_.catalog.Get();  // a reload may swap it
  for (const Server& server : catalog->servers) {
    servers[server.name].set_name(server.name);
  }
  std::map<std::string, std::string> server_of;  // by token endpoint
  for (const RegistrationStore::Snapshot& one : parts_.store.List()) {
    const std::string name = parts_.standings.ServerNameOf(*one);
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
  for (const std::string& name : parts_.standings.ServersRefusingAll()) {
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

grpc::ServerWriteReactor<v1::RunDiagnosticsResponse>* AdminService::RunDiagnostics(
    grpc::CallbackServerContext*, const v1::RunDiagnosticsRequest*) {
  return FailStreamNotImplemented<v1::RunDiagnosticsResponse>("RunDiagnostics");
}

grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* AdminService::ReadAuditLog(
    grpc::CallbackServerContext*, const v1::ReadAuditLogRequest*) {
  return FailStreamNotImplemented<v1::ReadAuditLogResponse>("ReadAuditLog");
}

grpc::ServerUnaryReactor* AdminService::ReloadConfiguration(
    grpc::CallbackServerContext* context, const v1::ReloadConfigurationRequest*,
    v1::ReloadConfigurationResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  Log(LogLevel::kInfo, "a reload of the configuration is asked for", {{"uid", caller_.uid}});
  auto call = PendingUnaryCall<v1::ReloadConfigurationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kFilesLimit));
  parts_.config.Reload([call](absl::StatusOr<ConfigReload> reload) {
    call->Finish(reload.status(), [&](v1::ReloadConfigurationResponse& answer) {
      for (std::string& change : reload->changes) answer.add_changes(std::move(change));
      for (std::string& key : reload->needs_restart) answer.add_needs_restart(std::move(key));
      for (const ConfigProblem& problem : reload->problems) {
        FillProblem(problem, /*file_disabled=*/true, answer.add_problems());
      }
    });
  });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* context,
                                                    const v1::SetLogLevelRequest*,
                                                    v1::SetLogLevelResponse*) {
  return FailNotImplemented(context, "SetLogLevel");
}

grpc::ServerUnaryReactor* AdminService::ProvisionTpm(grpc::CallbackServerContext* context,
                                                     const v1::ProvisionTpmRequest* request,
                                                     v1::ProvisionTpmResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ProvisionTpmResponse>::Start(context, response, parts_.scheduler,
                                                                TimeLeft(*context, kHardwareLimit));
  const KeyService::OperationId id = parts_.keys.ProvisionParent(
      Secret::CopyOf(request->owner_password()), [call](absl::StatusOr<ProvisionedParent> parent) {
        call->Finish(parent.status(), [&](v1::ProvisionTpmResponse& answer) {
          answer.set_handle(parent->handle);
          answer.set_name(parent->name);
          answer.set_already_there(parent->already_there);
        });
      });
  call->OnAbandon([&keys = parts_.keys, id] { keys.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::ListStoredKeys(grpc::CallbackServerContext* context,
                                                       const v1::ListStoredKeysRequest*,
                                                       v1::ListStoredKeysResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  // Without the registrations every key would be called one that nobody needs.
  if (absl::Status status = parts_.store.availability(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ListStoredKeysResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kHardwareLimit));
  const KeyService::OperationId id =
      parts_.keys.ListKeys([call, &store = parts_.store](absl::StatusOr<KeyInventory> inventory) {
        call->Finish(inventory.status(), [&](v1::ListStoredKeysResponse& answer) {
          answer.set_of_other_instances(inventory->of_other_instances);
          for (const StoredKey& key :
               FindStrayKeys(*inventory, store.instance_id(), store.List())) {
            FillStoredKey(key, answer.add_keys());
          }
        });
      });
  call->OnAbandon([&keys = parts_.keys, id] { keys.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::RemoveStrayKeys(grpc::CallbackServerContext* context,
                                                        const v1::RemoveStrayKeysRequest* request,
                                                        v1::RemoveStrayKeysResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  if (request->all() != (request->ids_size() == 0)) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                        "say which stray keys: either their ids, or all"));
  }
  auto call = PendingUnaryCall<v1::RemoveStrayKeysResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kHardwareLimit));
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  call->OnAbandon([cancelled] { *cancelled = true; });
  Log(LogLevel::kInfo, "removing stray keys",
      {{"uid", caller_.uid},
       {"which", request->all() ? "all" : absl::StrCat(request->ids_size())}});
  smartkey::RemoveStrayKeys(
      parts_.keys, parts_.store,
      {.all = request->all(), .ids = {request->ids().begin(), request->ids().end()}}, cancelled,
      [call](absl::StatusOr<std::vector<StoredKey>> removed) {
        call->Finish(removed.status(), [&](v1::RemoveStrayKeysResponse& answer) {
          for (const StoredKey& key : *removed) FillStoredKey(key, answer.add_keys());
        });
      });
  return call->reactor();
}

}  // namespace smartkey
