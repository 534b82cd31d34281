// SPDX-License-Identifier: Apache-2.0
#include "smartkey/client.h"

#include <cstdlib>
#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "clients/cpp/server_stream.h"
#include "clients/cpp/status_decode.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "smartkey/v1/signing.grpc.pb.h"
#include "smartkey/v1/token.grpc.pb.h"

// Connecting, and every call but those in enrollment.cc and registrations.cc.
namespace smartkey::client {

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

namespace {

v1::GetAccessTokenRequest ToProto(const TokenWish& wish) {
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
    *request.mutable_min_valid() = client::ToProto(wish.min_valid);
  }
  return request;
}

}  // namespace

absl::StatusOr<AccessToken> Client::GetAccessToken(const TokenWish& wish, CallOptions options) {
  auto response = channel_->Call(v1::TokenService::NewStub(channel_->grpc()),
                                 &v1::TokenService::Stub::GetAccessToken, ToProto(wish),
                                 options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  return TakeFromProto(*response);
}

struct TokenWatch::Rep {
  ServerStream<v1::TokenService::Stub, v1::WatchAccessTokenResponse> stream;
};

TokenWatch::TokenWatch(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
TokenWatch::~TokenWatch() = default;

absl::StatusOr<absl::optional<TokenState>> TokenWatch::Next() {
  auto response = rep_->stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return absl::nullopt;
  TokenState state;
  if ((*response)->has_token()) state.token = TakeFromProto(*(*response)->mutable_token());
  if ((*response)->has_error()) state.error = DecodeCause((*response)->error());
  return state;
}

void TokenWatch::Cancel() {
  rep_->stream.Cancel();
}

absl::StatusOr<std::unique_ptr<TokenWatch>> Client::WatchAccessToken(const TokenWish& wish,
                                                                     CallOptions options) {
  v1::WatchAccessTokenRequest request;
  *request.mutable_token() = ToProto(wish);
  return std::make_unique<TokenWatch>(std::unique_ptr<TokenWatch::Rep>(
      new TokenWatch::Rep{{*channel_, v1::TokenService::NewStub(channel_->grpc()),
                           &v1::TokenService::Stub::WatchAccessToken, request, options.timeout}}));
}

absl::StatusOr<Rejection> Client::ReportRejectedToken(const std::string& registration,
                                                      const Secret& token, CallOptions options) {
  v1::ReportRejectedTokenRequest request;
  request.set_registration(registration);
  const absl::string_view value = token.RevealSecret();
  request.set_access_token(value.data(), value.size());
  auto response = channel_->Call(v1::TokenService::NewStub(channel_->grpc()),
                                 &v1::TokenService::Stub::ReportRejectedToken, request,
                                 options.timeout.value_or(kShortCall));
  WipeString(*request.mutable_access_token());
  if (!response.ok()) return response.status();
  return Rejection{response->dropped(), response->refreshing()};
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
