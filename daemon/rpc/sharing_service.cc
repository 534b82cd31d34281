// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/sharing_service.h"

#include "daemon/rpc/service_support.h"

namespace smartkey {

grpc::ServerUnaryReactor* SharingService::ShareRegistration(grpc::CallbackServerContext* context,
                                                            const v1::ShareRegistrationRequest*,
                                                            v1::ShareRegistrationResponse*) {
  return FailNotImplemented(context, "ShareRegistration");
}

grpc::ServerUnaryReactor* SharingService::UnshareRegistration(grpc::CallbackServerContext* context,
                                                              const v1::UnshareRegistrationRequest*,
                                                              v1::UnshareRegistrationResponse*) {
  return FailNotImplemented(context, "UnshareRegistration");
}

grpc::ServerWriteReactor<v1::RequestAccessResponse>* SharingService::RequestAccess(
    grpc::CallbackServerContext*, const v1::RequestAccessRequest*) {
  return FailStreamNotImplemented<v1::RequestAccessResponse>("RequestAccess");
}

grpc::ServerUnaryReactor* SharingService::ListAccessRequests(grpc::CallbackServerContext* context,
                                                             const v1::ListAccessRequestsRequest*,
                                                             v1::ListAccessRequestsResponse*) {
  return FailNotImplemented(context, "ListAccessRequests");
}

grpc::ServerUnaryReactor* SharingService::ResolveAccessRequest(
    grpc::CallbackServerContext* context, const v1::ResolveAccessRequestRequest*,
    v1::ResolveAccessRequestResponse*) {
  return FailNotImplemented(context, "ResolveAccessRequest");
}

grpc::ServerUnaryReactor* SharingService::ExplainAccess(grpc::CallbackServerContext* context,
                                                        const v1::ExplainAccessRequest*,
                                                        v1::ExplainAccessResponse*) {
  return FailNotImplemented(context, "ExplainAccess");
}

}  // namespace smartkey
