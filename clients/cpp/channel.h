// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "smartkey/client.h"

namespace smartkey::client {

constexpr absl::Duration kShortCall = absl::Seconds(30);
constexpr absl::Duration kTokenCall = absl::Seconds(60);
// A key may take 180 s to make, and the server is waited for beyond that.
constexpr absl::Duration kLongCall = absl::Minutes(5);

// The gRPC channel to one unix socket, and how a call over it is made and its failure read.
// Thread-safe.
class Channel {
 public:
  // Errors: kInvalidArgument for a path that is relative or too long.
  static absl::StatusOr<std::unique_ptr<Channel>> Open(std::string socket_path);

  const std::shared_ptr<grpc::Channel>& grpc() const { return grpc_; }

  // Makes one unary call: `Call(v1::TokenService::NewStub(channel.grpc()),
  // &v1::TokenService::Stub::GetAccessToken, request, options.timeout.value_or(kTokenCall))`.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(std::unique_ptr<Stub> stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, absl::Duration timeout) const {
    grpc::ClientContext context;
    Prepare(context, timeout);
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

  // Fails fast, and at the latest after `timeout`.
  void Prepare(grpc::ClientContext& context, absl::Duration timeout) const;

  // What a failed call means for people: the daemon's word, or why there was none.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  Channel(std::string socket_path, std::shared_ptr<grpc::Channel> grpc);

  const std::string socket_path_;
  const std::shared_ptr<grpc::Channel> grpc_;
};

}  // namespace smartkey::client
