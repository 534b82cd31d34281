// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "smartkey/v1/sharing.grpc.pb.h"

namespace smartkey {

// smartkey.v1.SharingService: declared, and answering NOT_IMPLEMENTED. Thread-safe.
class SharingService final : public v1::SharingService::CallbackService {
 public:
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
};

}  // namespace smartkey
