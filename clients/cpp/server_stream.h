// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "clients/cpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"

namespace smartkey::client {

// A call that is answered message by message: what the watches of client.h are made of. Next() and
// Cancel() may be called from two threads; nothing else. Destroying it cancels it.
template <typename Stub, typename Response>
class ServerStream {
 public:
  template <typename Request>
  ServerStream(const Channel& channel, std::unique_ptr<Stub> stub,
               std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(grpc::ClientContext*,
                                                                             const Request&),
               const Request& request, absl::optional<absl::Duration> timeout)
      : channel_(channel), stub_(std::move(stub)) {
    channel_.Prepare(context_, timeout.value_or(absl::InfiniteDuration()));
    reader_ = (stub_.get()->*method)(&context_, request);
  }

  ~ServerStream() {
    if (finished_) return;
    context_.TryCancel();
    reader_->Finish();
  }

  // nullopt: the stream has ended well.
  absl::StatusOr<absl::optional<Response>> Next() {
    if (finished_) return absl::optional<Response>();
    Response response;
    if (reader_->Read(&response)) return absl::make_optional(std::move(response));
    finished_ = true;
    const grpc::Status status = reader_->Finish();
    if (!status.ok()) return channel_.Explain(status);
    return absl::optional<Response>();
  }

  void Cancel() { context_.TryCancel(); }

 private:
  const Channel& channel_;
  grpc::ClientContext context_;
  const std::unique_ptr<Stub> stub_;
  std::unique_ptr<grpc::ClientReader<Response>> reader_;
  bool finished_ = false;
};

}  // namespace smartkey::client
