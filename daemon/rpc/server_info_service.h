// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/rpc/services.h"
#include "smartkey/v1/server_info.grpc.pb.h"

namespace smartkey {

// smartkey.v1.ServerInfoService for one caller, on either socket. Thread-safe.
class ServerInfoService final : public v1::ServerInfoService::CallbackService {
 public:
  ServerInfoService(const ServiceParts& parts, const Caller& caller)
      : parts_(parts), caller_(caller) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* ListServers(grpc::CallbackServerContext* context,
                                        const v1::ListServersRequest* request,
                                        v1::ListServersResponse* response) override;
  grpc::ServerUnaryReactor* ListApps(grpc::CallbackServerContext* context,
                                     const v1::ListAppsRequest* request,
                                     v1::ListAppsResponse* response) override;

 private:
  const ServiceParts& parts_;
  const Caller caller_;
};

// What everybody may know of the key hardware.
void FillHardware(const ProviderStatus& status, const std::string& configured_provider,
                  const Clock& clock, v1::Hardware* hardware);

}  // namespace smartkey
