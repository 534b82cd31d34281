// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: ServerInfoService.
#include "tests/clients/fake_services.h"

namespace smartkey {

grpc::Status FakeDaemon::Services::GetServerInfo(grpc::ServerContext* context,
                                                 const v1::GetServerInfoRequest*,
                                                 v1::GetServerInfoResponse* response) {
  response->set_version("9.8.7");
  response->mutable_hardware()->set_state(v1::READY);
  response->mutable_hardware()->set_provider(v1::TPM);
  return Enter("GetServerInfo", context);
}

grpc::Status FakeDaemon::Services::ListServers(grpc::ServerContext* context,
                                               const v1::ListServersRequest*,
                                               v1::ListServersResponse* response) {
  v1::Server& server = *response->add_servers();
  server.set_name("mercy");
  server.set_fhir_base("https://ehr.example.com/fhir");
  server.set_profile("smart");
  server.add_apps("org.example.viewer");
  server.set_refusing_all(true);
  return Enter("ListServers", context);
}

grpc::Status FakeDaemon::Services::ListApps(grpc::ServerContext* context,
                                            const v1::ListAppsRequest*,
                                            v1::ListAppsResponse* response) {
  const grpc::Status status = Enter("ListApps", context);
  MutexLock lock(mu);
  v1::App& app = *response->add_apps();
  app.set_id("org.example.viewer");
  app.set_name("Example Viewer");
  app.add_redirect_uris(redirect_uri);
  app.add_scopes("patient/*.rs");
  return status;
}

}  // namespace smartkey
