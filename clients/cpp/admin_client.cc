// SPDX-License-Identifier: Apache-2.0
#include "smartkey/admin_client.h"

#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "smartkey/v1/admin.grpc.pb.h"

namespace smartkey::client {

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Connect(std::string socket_path) {
  auto channel = Channel::Open(socket_path.empty() ? AdminSocketPath() : std::move(socket_path));
  if (!channel.ok()) return channel.status();
  return std::unique_ptr<AdminClient>(new AdminClient(*std::move(channel)));
}

absl::StatusOr<DaemonStatus> AdminClient::GetStatus(CallOptions options) {
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::GetStatus, v1::GetStatusRequest(),
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<StoredKeys> AdminClient::ListStoredKeys(CallOptions options) {
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::ListStoredKeys,
                                 v1::ListStoredKeysRequest(), options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  StoredKeys stored;
  stored.of_other_instances = response->of_other_instances();
  for (const v1::StoredKey& key : response->keys()) {
    stored.keys.push_back({key.label(), key.registration_id(), key.generation(), key.stray()});
  }
  return stored;
}

absl::StatusOr<ProvisionedTpm> AdminClient::ProvisionTpm(const Secret& owner_password,
                                                         CallOptions options) {
  v1::ProvisionTpmRequest request;
  request.set_owner_password(std::string(owner_password.RevealSecret()));
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::ProvisionTpm, request,
                                 options.timeout.value_or(kShortCall));
  WipeString(*request.mutable_owner_password());
  if (!response.ok()) return response.status();
  return ProvisionedTpm{response->handle(), response->name(), response->already_there()};
}

}  // namespace smartkey::client
