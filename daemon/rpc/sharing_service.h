// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/sharing.grpc.pb.h"

namespace smartkey {

// smartkey.v1.SharingService for one caller, on either socket: whose registrations he may share is
// AccessPolicy's to say. Who may manage a registration by a share gives others no more than he has.
// Changes are kRateLimited beyond what CallLimiter allows a uid. Thread-safe.
class SharingService final : public v1::SharingService::CallbackService {
 public:
  // `limits` is shared by all connections of the socket.
  SharingService(const ServiceParts& parts, const Caller& caller,
                 std::shared_ptr<CallLimiter> limits)
      : parts_(parts), caller_(caller), limits_(std::move(limits)) {}

  grpc::ServerUnaryReactor* ShareRegistration(grpc::CallbackServerContext* context,
                                              const v1::ShareRegistrationRequest* request,
                                              v1::ShareRegistrationResponse* response) override;
  grpc::ServerUnaryReactor* UnshareRegistration(grpc::CallbackServerContext* context,
                                                const v1::UnshareRegistrationRequest* request,
                                                v1::UnshareRegistrationResponse* response) override;
  grpc::ServerWriteReactor<v1::RequestAccessResponse>* RequestAccess(
      grpc::CallbackServerContext* context, const v1::RequestAccessRequest* request) override;
  grpc::ServerUnaryReactor* ListAccessRequests(grpc::CallbackServerContext* context,
                                               const v1::ListAccessRequestsRequest* request,
                                               v1::ListAccessRequestsResponse* response) override;
  grpc::ServerUnaryReactor* ResolveAccessRequest(
      grpc::CallbackServerContext* context, const v1::ResolveAccessRequestRequest* request,
      v1::ResolveAccessRequestResponse* response) override;
  grpc::ServerUnaryReactor* ExplainAccess(grpc::CallbackServerContext* context,
                                          const v1::ExplainAccessRequest* request,
                                          v1::ExplainAccessResponse* response) override;

 private:
  const ServiceParts& parts_;
  const Caller caller_;
  const std::shared_ptr<CallLimiter> limits_;
};

}  // namespace smartkey
