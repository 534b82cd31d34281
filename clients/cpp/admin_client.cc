// SPDX-License-Identifier: Apache-2.0
#include "smartkey/admin_client.h"

#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "smartkey/v1/admin.grpc.pb.h"

namespace smartkey::client {
namespace {

constexpr absl::Duration kDiskCall = absl::Seconds(60);

std::vector<StoredKeys::Key> KeysFromProto(
    const google::protobuf::RepeatedPtrField<v1::StoredKey>& in) {
  std::vector<StoredKeys::Key> keys;
  for (const v1::StoredKey& key : in) {
    keys.push_back({key.label(), key.registration_id(), key.generation(), key.stray(), key.id()});
  }
  return keys;
}

}  // namespace

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
  stored.keys = KeysFromProto(response->keys());
  return stored;
}

absl::StatusOr<std::vector<StoredKeys::Key>> AdminClient::RemoveStrayKeys(
    const absl::optional<std::vector<std::string>>& ids, CallOptions options) {
  v1::RemoveStrayKeysRequest request;
  request.set_all(!ids.has_value());
  if (ids.has_value()) request.mutable_ids()->Assign(ids->begin(), ids->end());
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::RemoveStrayKeys, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return KeysFromProto(response->keys());
}

absl::StatusOr<ConfigReload> AdminClient::ReloadConfiguration(CallOptions options) {
  auto response = channel().Call(
      v1::AdminService::NewStub(channel().grpc()), &v1::AdminService::Stub::ReloadConfiguration,
      v1::ReloadConfigurationRequest(), options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
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

absl::StatusOr<StoreRecovery> AdminClient::RecoverStore(const std::string& copy,
                                                        CallOptions options) {
  v1::RecoverStoreRequest request;
  request.set_copy(copy);
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::RecoverStore, request,
                                 options.timeout.value_or(kDiskCall));
  if (!response.ok()) return response.status();
  StoreRecovery recovery;
  recovery.from_memory = response->from_memory();
  recovery.from_damaged_file = response->from_damaged_file();
  recovery.from_copy = response->from_copy();
  if (response->has_copy()) recovery.copy = FromProto(response->copy());
  recovery.incomplete = response->incomplete();
  recovery.set_aside = response->set_aside();
  return recovery;
}

absl::StatusOr<std::string> AdminClient::ResetStore(CallOptions options) {
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::ResetStore, v1::ResetStoreRequest(),
                                 options.timeout.value_or(kDiskCall));
  if (!response.ok()) return response.status();
  return response->set_aside();
}

absl::Status AdminClient::AdoptStore(CallOptions options) {
  return channel()
      .Call(v1::AdminService::NewStub(channel().grpc()), &v1::AdminService::Stub::AdoptStore,
            v1::AdoptStoreRequest(), options.timeout.value_or(kShortCall))
      .status();
}

}  // namespace smartkey::client
