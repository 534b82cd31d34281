// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/ascii.h"
#include "base/error.h"
#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "clients/cpp/server_stream.h"
#include "smartkey/client.h"
#include "smartkey/v1/sharing.grpc.pb.h"

namespace smartkey::client {

using Service = v1::SharingService;

namespace {

absl::Status AddOperations(const std::vector<std::string>& names,
                           google::protobuf::RepeatedField<int>* operations) {
  for (const std::string& name : names) {
    v1::Operation operation = v1::OPERATION_UNSPECIFIED;
    if (!v1::Operation_Parse(absl::AsciiStrToUpper(name), &operation) ||
        operation == v1::OPERATION_UNSPECIFIED) {
      return MakeError(Reason::kInvalidArgument,
                       "an operation is token, dpop, jwt, assertion or manage");
    }
    operations->Add(operation);
  }
  return absl::OkStatus();
}

template <class Request>
absl::Status SetTerms(const ShareTerms& terms, Request& request) {
  request.mutable_scopes()->Add(terms.scopes.begin(), terms.scopes.end());
  if (terms.valid_for > absl::ZeroDuration()) {
    *request.mutable_valid_for() = client::ToProto(terms.valid_for);
  }
  return AddOperations(terms.operations, request.mutable_operations());
}

}  // namespace

absl::StatusOr<Share> Client::ShareRegistration(const std::string& registration,
                                                const std::string& principal,
                                                const ShareTerms& terms, CallOptions options) {
  v1::ShareRegistrationRequest request;
  request.set_registration(registration);
  request.set_principal(principal);
  if (absl::Status status = SetTerms(terms, request); !status.ok()) return status;
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ShareRegistration, request,
                     options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->share());
}

absl::Status Client::UnshareRegistration(const std::string& registration,
                                         const std::string& principal, CallOptions options) {
  v1::UnshareRegistrationRequest request;
  request.set_registration(registration);
  request.set_principal(principal);
  return channel_
      ->Call(Service::NewStub(channel_->grpc()), &Service::Stub::UnshareRegistration, request,
             options.timeout.value_or(kShortCall))
      .status();
}

struct AccessRequestWatch::Rep {
  ServerStream<Service::Stub, v1::RequestAccessResponse> stream;
};

AccessRequestWatch::AccessRequestWatch(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
AccessRequestWatch::~AccessRequestWatch() = default;

absl::StatusOr<absl::optional<AccessAnswer>> AccessRequestWatch::Next() {
  const auto response = rep_->stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return absl::nullopt;
  return FromProto(**response);
}

void AccessRequestWatch::Cancel() {
  rep_->stream.Cancel();
}

absl::StatusOr<std::unique_ptr<AccessRequestWatch>> Client::RequestAccess(const AccessWish& wish,
                                                                          CallOptions options) {
  v1::RequestAccessRequest request;
  request.set_owner(wish.owner);
  request.set_registration(wish.registration);
  request.set_app(wish.app);
  request.set_fhir_base(wish.fhir_base);
  request.mutable_scopes()->Add(wish.scopes.begin(), wish.scopes.end());
  request.set_reason(wish.reason);
  if (absl::Status status = AddOperations(wish.operations, request.mutable_operations());
      !status.ok()) {
    return status;
  }
  return std::make_unique<AccessRequestWatch>(std::unique_ptr<AccessRequestWatch::Rep>(
      new AccessRequestWatch::Rep{{*channel_, Service::NewStub(channel_->grpc()),
                                   &Service::Stub::RequestAccess, request, options.timeout}}));
}

absl::StatusOr<std::vector<AccessRequest>> Client::ListAccessRequests(
    const std::string& registration, CallOptions options) {
  v1::ListAccessRequestsRequest request;
  request.set_registration(registration);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ListAccessRequests,
                     request, options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  std::vector<AccessRequest> requests;
  for (const v1::AccessRequest& one : response->requests()) requests.push_back(FromProto(one));
  return requests;
}

absl::StatusOr<Share> Client::ApproveAccessRequest(const std::string& request_id,
                                                   const ShareTerms& terms, CallOptions options) {
  v1::ResolveAccessRequestRequest request;
  request.set_request_id(request_id);
  request.set_decision(v1::ResolveAccessRequestRequest::APPROVE);
  if (absl::Status status = SetTerms(terms, request); !status.ok()) return status;
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ResolveAccessRequest,
                     request, options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->share());
}

absl::Status Client::DenyAccessRequest(const std::string& request_id, bool always,
                                       CallOptions options) {
  v1::ResolveAccessRequestRequest request;
  request.set_request_id(request_id);
  request.set_decision(always ? v1::ResolveAccessRequestRequest::DENY_ALWAYS
                              : v1::ResolveAccessRequestRequest::DENY);
  return channel_
      ->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ResolveAccessRequest, request,
             options.timeout.value_or(kShortCall))
      .status();
}

absl::StatusOr<AccessExplanation> Client::ExplainAccess(const std::string& registration,
                                                        const std::vector<std::string>& principals,
                                                        CallOptions options) {
  v1::ExplainAccessRequest request;
  request.set_registration(registration);
  request.mutable_principals()->Add(principals.begin(), principals.end());
  auto response = channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ExplainAccess,
                                 request, options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

}  // namespace smartkey::client
