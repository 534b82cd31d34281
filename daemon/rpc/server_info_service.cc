// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/server_info_service.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/log.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

template <class T, class Less>
std::vector<const T*> Sorted(const std::vector<T>& all, Less less) {
  std::vector<const T*> sorted;
  for (const T& one : all) sorted.push_back(&one);
  std::sort(sorted.begin(), sorted.end(), [&](const T* a, const T* b) { return less(*a, *b); });
  return sorted;
}

void FillApp(const App& app, v1::App* message) {
  message->set_id(app.id);
  message->set_name(app.name);
  for (const std::string& uri : app.redirect_uris) message->add_redirect_uris(uri);
  for (const std::string& scope : app.scopes) message->add_scopes(scope);
  for (const AppClient& client : app.clients) {
    v1::App::Client* one = message->add_clients();
    for (const std::string& server : client.servers) one->add_servers(server);
    one->set_client_id(client.client_id);
    one->set_software_id(client.software_id);
  }
}

}  // namespace

void FillHardware(const ProviderStatus& status, const std::string& configured_provider,
                  const Clock& clock, v1::Hardware* hardware) {
  SetTime(clock.Now() - (clock.Boot() - status.since), hardware, &v1::Hardware::mutable_since);
  switch (status.state) {
    case ProviderState::kReady:
      hardware->set_state(v1::READY);
      break;
    case ProviderState::kDegraded:
      hardware->set_state(v1::DEGRADED);
      break;
    case ProviderState::kAbsent:
      hardware->set_state(v1::ABSENT);
      break;
  }
  if (configured_provider == "tpm") hardware->set_provider(v1::TPM);
  if (configured_provider == "pkcs11") hardware->set_provider(v1::PKCS11);
  if (status.capabilities.has_value() && status.state != ProviderState::kAbsent) {
    hardware->set_description(status.capabilities->hardware);
  }
  if (status.state == ProviderState::kReady) {
    if (!status.capabilities.has_value()) return;
    for (const SignatureAlgorithm algorithm : status.capabilities->algorithms) {
      hardware->add_algorithms(std::string(AlgorithmName(algorithm)));
    }
  } else if (!status.last_error.ok()) {
    *hardware->mutable_cause() = ToErrorDetail(status.last_error);
  }
}

grpc::ServerUnaryReactor* ServerInfoService::GetServerInfo(grpc::CallbackServerContext* context,
                                                           const v1::GetServerInfoRequest*,
                                                           v1::GetServerInfoResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_, "see"); !status.ok()) {
    return FinishNow(context, status);
  }
  response->set_version(parts_.info.version);
  FillHardware(parts_.keys.status(), parts_.info.key_provider, parts_.clock,
               response->mutable_hardware());
  response->set_instance_id(parts_.store.instance_id());
  response->set_admin(caller_.admin);
  response->mutable_store()->set_available(parts_.store.availability().ok());
  if (const absl::Status store = parts_.store.health(); !store.ok()) {
    *response->mutable_store()->mutable_cause() = ToErrorDetail(store);
    response->mutable_store()->set_problem(Printable(store.message()));
  }
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ServerInfoService::ListServers(grpc::CallbackServerContext* context,
                                                         const v1::ListServersRequest*,
                                                         v1::ListServersResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_, "see"); !status.ok()) {
    return FinishNow(context, status);
  }
  const std::shared_ptr<const Catalog> catalog = parts_.catalog.Get();
  const auto by_name = [](const Server& a, const Server& b) { return a.name < b.name; };
  const std::set<std::string> refusing_all = parts_.standings.ServersRefusingAll();
  for (const Server* server : Sorted(catalog->servers, by_name)) {
    v1::Server* message = response->add_servers();
    message->set_name(server->name);
    message->set_fhir_base(server->fhir_base);
    message->set_profile(server->profile == ServerProfile::kEpic ? "epic" : "smart");
    for (const App& app : catalog->apps) {
      if (app.FindClient(server->name) != nullptr) message->add_apps(app.id);
    }
    message->set_refusing_all(refusing_all.count(server->name) != 0);
  }
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ServerInfoService::ListApps(grpc::CallbackServerContext* context,
                                                      const v1::ListAppsRequest*,
                                                      v1::ListAppsResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_, "see"); !status.ok()) {
    return FinishNow(context, status);
  }
  const std::shared_ptr<const Catalog> catalog = parts_.catalog.Get();
  const auto by_id = [](const App& a, const App& b) { return a.id < b.id; };
  for (const App* app : Sorted(catalog->apps, by_id)) FillApp(*app, response->add_apps());
  return FinishNow(context, absl::OkStatus());
}

}  // namespace smartkey
