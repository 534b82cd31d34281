// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/rpc/services.h"
#include "smartkey/v1/admin.grpc.pb.h"

namespace smartkey {

// smartkey.v1.AdminService for one administrator; only the admin socket has it. Thread-safe.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  AdminService(const ServiceParts& parts, const Caller& caller) : parts_(parts), caller_(caller) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;
  grpc::ServerWriteReactor<v1::RunDiagnosticsResponse>* RunDiagnostics(
      grpc::CallbackServerContext* context, const v1::RunDiagnosticsRequest* request) override;
  grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* ReadAuditLog(
      grpc::CallbackServerContext* context, const v1::ReadAuditLogRequest* request) override;
  grpc::ServerUnaryReactor* GetMetrics(grpc::CallbackServerContext* context,
                                       const v1::GetMetricsRequest* request,
                                       v1::GetMetricsResponse* response) override;
  grpc::ServerUnaryReactor* ReloadConfiguration(grpc::CallbackServerContext* context,
                                                const v1::ReloadConfigurationRequest* request,
                                                v1::ReloadConfigurationResponse* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* context,
                                        const v1::SetLogLevelRequest* request,
                                        v1::SetLogLevelResponse* response) override;
  grpc::ServerUnaryReactor* ProvisionTpm(grpc::CallbackServerContext* context,
                                         const v1::ProvisionTpmRequest* request,
                                         v1::ProvisionTpmResponse* response) override;
  grpc::ServerUnaryReactor* ListStoredKeys(grpc::CallbackServerContext* context,
                                           const v1::ListStoredKeysRequest* request,
                                           v1::ListStoredKeysResponse* response) override;
  grpc::ServerUnaryReactor* RemoveStrayKeys(grpc::CallbackServerContext* context,
                                            const v1::RemoveStrayKeysRequest* request,
                                            v1::RemoveStrayKeysResponse* response) override;
  grpc::ServerUnaryReactor* RecoverStore(grpc::CallbackServerContext* context,
                                         const v1::RecoverStoreRequest* request,
                                         v1::RecoverStoreResponse* response) override;
  grpc::ServerUnaryReactor* ResetStore(grpc::CallbackServerContext* context,
                                       const v1::ResetStoreRequest* request,
                                       v1::ResetStoreResponse* response) override;
  grpc::ServerUnaryReactor* AdoptStore(grpc::CallbackServerContext* context,
                                       const v1::AdoptStoreRequest* request,
                                       v1::AdoptStoreResponse* response) override;

 private:
  // Asked by every call first.
  absl::Status CheckCaller() const { return parts_.access.CheckCaller(caller_, "administer"); }

  const ServiceParts& parts_;
  const Caller caller_;
};

}  // namespace smartkey
