// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "daemon/model/caller.h"
#include "daemon/rpc/call_tracker.h"

namespace smartkey {

// The gRPC services that one connection sees. Made for one caller and kept until its last call is
// over: a handler knows its caller from a member and has no way to see another's.
class ConnectionServices {
 public:
  virtual ~ConnectionServices() = default;
  // Callback services only: a synchronous one would cost a thread pool for each connection.
  virtual std::vector<grpc::Service*> services() = 0;
};
using ServicesFactory = std::function<std::unique_ptr<ConnectionServices>(const Caller&)>;

// Service name ("" for the whole daemon) to "is it serving", for grpc.health.v1.
using HealthTable = std::map<std::string, bool>;

// One accepted socket with the gRPC server that serves it, and nobody else. gRPC C++ does not tell
// a handler who is calling (grpc/grpc issues 15511 and 28755), and what peer() says can name
// another connection by the time it is read; so the identity is built into the server instead.
//
// Thread-safe except for Serve and Shutdown, which are called once each. Must not be destroyed by
// one of gRPC's threads.
class Connection {
 public:
  struct Limits {
    int max_receive_bytes = 128 * 1024;  // an initial token of 64 KiB is the longest thing
    int max_send_bytes = 4 * 1024 * 1024;
    int max_metadata_bytes = 16 * 1024;
    int max_concurrent_calls = 100;
    absl::Duration idle = absl::Minutes(10);  // then gRPC says GOAWAY
  };

  // Builds the server. Errors: kInternal when gRPC does not.
  static absl::StatusOr<std::unique_ptr<Connection>> Create(
      std::unique_ptr<ConnectionServices> services, std::shared_ptr<CallTracker> calls,
      const grpc::ResourceQuota& quota, const Limits& limits);

  // Starts serving. Once.
  void Serve(UniqueFd socket);

  CallTracker& calls() { return *calls_; }
  void SetHealth(const HealthTable& health);

  // Waits for handlers that run; call it when CallTracker says that there are none.
  void Shutdown();

 private:
  Connection() = default;

  // The server goes first: its calls use the services.
  std::shared_ptr<CallTracker> calls_;
  std::unique_ptr<ConnectionServices> services_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace smartkey
