// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/ascii.h"
#include "base/error.h"
#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "smartkey/client.h"
#include "smartkey/v1/sharing.grpc.pb.h"

namespace smartkey::client {

using Service = v1::SharingService;

absl::StatusOr<Share> Client::ShareRegistration(const std::string& registration,
                                                const std::string& principal,
                                                const ShareTerms& terms, CallOptions options) {
  v1::ShareRegistrationRequest request;
  request.set_registration(registration);
  request.set_principal(principal);
  for (const std::string& name : terms.operations) {
    v1::Operation operation = v1::OPERATION_UNSPECIFIED;
    if (!v1::Operation_Parse(absl::AsciiStrToUpper(name), &operation) ||
        operation == v1::OPERATION_UNSPECIFIED) {
      return MakeError(Reason::kInvalidArgument,
                       "an operation is token, dpop, jwt, assertion or manage");
    }
    request.add_operations(operation);
  }
  request.mutable_scopes()->Add(terms.scopes.begin(), terms.scopes.end());
  if (terms.valid_for > absl::ZeroDuration()) {
    *request.mutable_valid_for() = client::ToProto(terms.valid_for);
  }
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
