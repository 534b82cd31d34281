// SPDX-License-Identifier: Apache-2.0
#include "smartkey/client.h"

#include <cstdlib>
#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "smartkey/v1/registration.grpc.pb.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "smartkey/v1/signing.grpc.pb.h"
#include "smartkey/v1/token.grpc.pb.h"

// Connecting, and every call but enrollment, which is in enrollment.cc.
namespace smartkey::client {
namespace {

// More pages than any daemon has registrations: one that never ends the list ends the loop.
constexpr int kMaxPages = 1000;

google::protobuf::Duration ToProto(absl::Duration in) {
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(in, absl::Seconds(1), &in));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(in)));
  return out;
}

}  // namespace

std::string PublicSocketPath() {
  const char* path = std::getenv("SMARTKEY_SOCKET");
  return path != nullptr && *path != '\0' ? path : "/run/smartkeyd/smartkeyd.sock";
}

std::string AdminSocketPath() {
  return "/run/smartkeyd-admin/admin.sock";
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(std::string socket_path) {
  auto channel = Channel::Open(socket_path.empty() ? PublicSocketPath() : std::move(socket_path));
  if (!channel.ok()) return channel.status();
  return std::unique_ptr<Client>(new Client(*std::move(channel)));
}

Client::Client(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
Client::~Client() = default;

absl::StatusOr<std::vector<Registration>> Client::ListRegistrations(
    const RegistrationFilter& filter, CallOptions options) {
  v1::ListRegistrationsRequest request;
  request.mutable_filter()->set_app(filter.app);
  request.mutable_filter()->set_fhir_base(filter.fhir_base);
  request.mutable_filter()->set_server(filter.server);
  request.mutable_filter()->set_owner(filter.owner);
  std::vector<Registration> registrations;
  for (int page = 0; page < kMaxPages; ++page) {
    auto response = channel_->Call(v1::RegistrationService::NewStub(channel_->grpc()),
                                   &v1::RegistrationService::Stub::ListRegistrations, request,
                                   options.timeout.value_or(kShortCall));
    if (!response.ok()) return response.status();
    for (const auto& registration : response->registrations()) {
      registrations.push_back(FromProto(registration));
    }
    if (response->next_page_token().empty()) break;
    request.set_page_token(response->next_page_token());
  }
  return registrations;
}

absl::StatusOr<Registration> Client::GetRegistration(const std::string& registration,
                                                     CallOptions options) {
  v1::GetRegistrationRequest request;
  request.set_registration(registration);
  auto response = channel_->Call(v1::RegistrationService::NewStub(channel_->grpc()),
                                 &v1::RegistrationService::Stub::GetRegistration, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

absl::StatusOr<Registration> Client::UpdateRegistration(const std::string& registration,
                                                        const absl::optional<std::string>& name,
                                                        const absl::optional<std::string>& label,
                                                        CallOptions options) {
  v1::UpdateRegistrationRequest request;
  request.set_registration(registration);
  if (name.has_value()) request.set_name(*name);
  if (label.has_value()) request.set_label(*label);
  auto response = channel_->Call(v1::RegistrationService::NewStub(channel_->grpc()),
                                 &v1::RegistrationService::Stub::UpdateRegistration, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

absl::StatusOr<Deletion> Client::DeleteRegistration(const std::string& registration,
                                                    CallOptions options) {
  v1::DeleteRegistrationRequest request;
  request.set_registration(registration);
  auto response = channel_->Call(v1::RegistrationService::NewStub(channel_->grpc()),
                                 &v1::RegistrationService::Stub::DeleteRegistration, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<AccessToken> Client::GetAccessToken(const TokenWish& wish, CallOptions options) {
  v1::GetAccessTokenRequest request;
  if (!wish.registration.empty()) {
    request.set_registration(wish.registration);
  } else {
    request.mutable_context()->set_app(wish.app);
    request.mutable_context()->set_fhir_base(wish.fhir_base);
    request.mutable_context()->set_patient(wish.patient);
  }
  for (const std::string& scope : wish.scopes) request.add_scopes(scope);
  if (wish.min_valid > absl::ZeroDuration()) {
    *request.mutable_min_valid() = ToProto(wish.min_valid);
  }
  auto response = channel_->Call(v1::TokenService::NewStub(channel_->grpc()),
                                 &v1::TokenService::Stub::GetAccessToken, request,
                                 options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  return TakeFromProto(*response);
}

absl::StatusOr<ClientAssertion> Client::SignClientAssertion(const std::string& registration,
                                                            CallOptions options) {
  v1::SignClientAssertionRequest request;
  request.set_registration(registration);
  auto response = channel_->Call(v1::SigningService::NewStub(channel_->grpc()),
                                 &v1::SigningService::Stub::SignClientAssertion, request,
                                 options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  return TakeFromProto(*response);
}

absl::StatusOr<Jwks> Client::GetJwks(const std::string& registration, CallOptions options) {
  v1::GetJwksRequest request;
  request.set_registration(registration);
  auto response = channel_->Call(v1::SigningService::NewStub(channel_->grpc()),
                                 &v1::SigningService::Stub::GetJwks, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<DaemonInfo> Client::GetServerInfo(CallOptions options) {
  auto response = channel_->Call(v1::ServerInfoService::NewStub(channel_->grpc()),
                                 &v1::ServerInfoService::Stub::GetServerInfo,
                                 v1::GetServerInfoRequest(), options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<std::vector<Server>> Client::ListServers(CallOptions options) {
  auto response = channel_->Call(v1::ServerInfoService::NewStub(channel_->grpc()),
                                 &v1::ServerInfoService::Stub::ListServers,
                                 v1::ListServersRequest(), options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  std::vector<Server> servers;
  for (const auto& server : response->servers()) servers.push_back(FromProto(server));
  return servers;
}

absl::StatusOr<std::vector<App>> Client::ListApps(CallOptions options) {
  auto response = channel_->Call(v1::ServerInfoService::NewStub(channel_->grpc()),
                                 &v1::ServerInfoService::Stub::ListApps, v1::ListAppsRequest(),
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  std::vector<App> apps;
  for (const auto& app : response->apps()) apps.push_back(FromProto(app));
  return apps;
}

}  // namespace smartkey::client
