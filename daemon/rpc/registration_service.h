// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/registration.grpc.pb.h"

namespace smartkey {

// smartkey.v1.RegistrationService for one caller, on either socket: what a caller sees and may
// change is AccessPolicy's to say. Changes are kRateLimited beyond what CallLimiter allows a uid.
// GetKeyAttestation is only declared so far. Thread-safe.
//
// In three files: looking, changing and deleting; _orders; _watch.
class RegistrationService final : public v1::RegistrationService::CallbackService {
 public:
  // `limits` is shared by all connections of the socket.
  RegistrationService(const ServiceParts& parts, const Caller& caller,
                      std::shared_ptr<CallLimiter> limits)
      : parts_(parts), caller_(caller), limits_(std::move(limits)) {}

  grpc::ServerUnaryReactor* ListRegistrations(grpc::CallbackServerContext* context,
                                              const v1::ListRegistrationsRequest* request,
                                              v1::ListRegistrationsResponse* response) override;
  grpc::ServerUnaryReactor* GetRegistration(grpc::CallbackServerContext* context,
                                            const v1::GetRegistrationRequest* request,
                                            v1::GetRegistrationResponse* response) override;
  grpc::ServerUnaryReactor* UpdateRegistration(grpc::CallbackServerContext* context,
                                               const v1::UpdateRegistrationRequest* request,
                                               v1::UpdateRegistrationResponse* response) override;
  grpc::ServerUnaryReactor* DeleteRegistration(grpc::CallbackServerContext* context,
                                               const v1::DeleteRegistrationRequest* request,
                                               v1::DeleteRegistrationResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchRegistrationsResponse>* WatchRegistrations(
      grpc::CallbackServerContext* context, const v1::WatchRegistrationsRequest* request) override;
  grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* ReadAuditLog(
      grpc::CallbackServerContext* context, const v1::ReadAuditLogRequest* request) override;
  grpc::ServerUnaryReactor* RotateKey(grpc::CallbackServerContext* context,
                                      const v1::RotateKeyRequest* request,
                                      v1::RotateKeyResponse* response) override;
  grpc::ServerUnaryReactor* GetKeyAttestation(grpc::CallbackServerContext* context,
                                              const v1::GetKeyAttestationRequest* request,
                                              v1::GetKeyAttestationResponse* response) override;
  grpc::ServerUnaryReactor* SuspendRegistrations(
      grpc::CallbackServerContext* context, const v1::SuspendRegistrationsRequest* request,
      v1::SuspendRegistrationsResponse* response) override;
  grpc::ServerUnaryReactor* ResumeRegistrations(grpc::CallbackServerContext* context,
                                                const v1::ResumeRegistrationsRequest* request,
                                                v1::ResumeRegistrationsResponse* response) override;

 private:
  grpc::ServerUnaryReactor* ChangeOwner(grpc::CallbackServerContext* context,
                                        const v1::UpdateRegistrationRequest* request,
                                        RegistrationStore::Snapshot registration,
                                        v1::UpdateRegistrationResponse* response);

  const ServiceParts& parts_;
  const Caller caller_;
  const std::shared_ptr<CallLimiter> limits_;
};

}  // namespace smartkey
