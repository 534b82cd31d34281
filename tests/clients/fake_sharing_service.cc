// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: SharingService.
#include "tests/clients/fake_services.h"

namespace smartkey {

grpc::Status FakeDaemon::Services::ShareRegistration(grpc::ServerContext* context,
                                                     const v1::ShareRegistrationRequest* request,
                                                     v1::ShareRegistrationResponse* response) {
  Note(&Services::share, *request);
  v1::Share& made = *response->mutable_share();
  made.mutable_principal()->set_text(request->principal());
  made.mutable_operations()->CopyFrom(request->operations());
  if (made.operations().empty()) made.add_operations(v1::TOKEN);
  made.mutable_scopes()->CopyFrom(request->scopes());
  made.mutable_expires_at()->set_seconds(1798761600);  // 2027-01-01
  return Enter("ShareRegistration", context);
}

grpc::Status FakeDaemon::Services::UnshareRegistration(
    grpc::ServerContext* context, const v1::UnshareRegistrationRequest* request,
    v1::UnshareRegistrationResponse*) {
  Note(&Services::unshare, *request);
  return Enter("UnshareRegistration", context);
}

grpc::Status FakeDaemon::Services::RequestAccess(
    grpc::ServerContext* context, const v1::RequestAccessRequest* request,
    grpc::ServerWriter<v1::RequestAccessResponse>* writer) {
  Note(&Services::request_access, *request);
  grpc::Status status = Enter("RequestAccess", context);
  if (!status.ok()) return status;
  v1::RequestAccessResponse response;
  response.set_request_id("request-1");
  response.set_state(v1::AccessRequest::PENDING);
  writer->Write(response);
  MutexLock lock(mu);
  response.set_state(decision);
  if (decision == v1::AccessRequest::APPROVED) response.set_registration_id("r-1");
  writer->Write(response);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Services::ListAccessRequests(grpc::ServerContext* context,
                                                      const v1::ListAccessRequestsRequest*,
                                                      v1::ListAccessRequestsResponse* response) {
  v1::AccessRequest& one = *response->add_requests();
  one.set_request_id("request-1");
  one.mutable_principal()->set_text("user:bob");
  one.set_registration_id("r-1");
  one.add_operations(v1::TOKEN);
  one.set_reason("for my viewer");
  one.mutable_created_at()->set_seconds(1798761600);  // 2027-01-01
  return Enter("ListAccessRequests", context);
}

grpc::Status FakeDaemon::Services::ResolveAccessRequest(
    grpc::ServerContext* context, const v1::ResolveAccessRequestRequest* request,
    v1::ResolveAccessRequestResponse* response) {
  Note(&Services::resolve, *request);
  if (request->decision() == v1::ResolveAccessRequestRequest::APPROVE) {
    response->mutable_share()->mutable_principal()->set_text("user:bob");
    response->mutable_share()->add_operations(v1::TOKEN);
  }
  return Enter("ResolveAccessRequest", context);
}

grpc::Status FakeDaemon::Services::ExplainAccess(grpc::ServerContext* context,
                                                 const v1::ExplainAccessRequest* request,
                                                 v1::ExplainAccessResponse* response) {
  Note(&Services::explain, *request);
  response->add_operations(v1::TOKEN);
  response->add_facts("user: bob (uid 1001)");
  response->add_steps("share user:bob: allows token");
  return Enter("ExplainAccess", context);
}

}  // namespace smartkey
