// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/connection.h"

#include <grpc/grpc.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <chrono>
#include <utility>

#include "base/error.h"

namespace smartkey {

absl::StatusOr<std::unique_ptr<Connection>> Connection::Create(
    std::unique_ptr<ConnectionServices> services, std::shared_ptr<CallTracker> calls,
    const grpc::ResourceQuota& quota, const Limits& limits) {
  grpc::ServerBuilder builder;
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(limits.max_receive_bytes);
  builder.SetMaxSendMessageSize(limits.max_send_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, limits.max_metadata_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_concurrent_calls);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(limits.idle)));
  // A message's size is checked before it is unpacked, so a small one could become a very large
  // one.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);

  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<TrackingInterceptorFactory>(calls));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  for (grpc::Service* service : services->services()) builder.RegisterService(service);

  auto connection = std::unique_ptr<Connection>(new Connection);
  connection->calls_ = std::move(calls);
  connection->services_ = std::move(services);
  connection->server_ = builder.BuildAndStart();
  if (connection->server_ == nullptr) {
    return MakeError(Reason::kInternal, "grpc built no server for a connection");
  }
  return connection;
}

void Connection::Serve(UniqueFd socket) {
  grpc::AddInsecureChannelFromFd(server_.get(), socket.release());
}

void Connection::SetHealth(const HealthTable& health) {
  grpc::HealthCheckServiceInterface* service = server_->GetHealthCheckService();
  if (service == nullptr) return;
  for (const auto& [name, serving] : health) service->SetServingStatus(name, serving);
}

void Connection::Shutdown() {
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

}  // namespace smartkey
