// SPDX-License-Identifier: Apache-2.0
// What smartkeyd's answers are compared with: the same connections, each with a gRPC server of its
// own and its caller attested, and a GetAccessToken that does nothing and answers nothing.
//
//   bare_daemon SOCKET      serves until its standard input ends
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/rpc/connection_server.h"
#include "daemon/rpc/process_setup.h"
#include "smartkey/v1/token.grpc.pb.h"

namespace smartkey {
namespace {

class EmptyTokenService : public v1::TokenService::CallbackService, public ConnectionServices {
 public:
  std::vector<grpc::Service*> services() override { return {this}; }

  grpc::ServerUnaryReactor* GetAccessToken(grpc::CallbackServerContext* context,
                                           const v1::GetAccessTokenRequest*,
                                           v1::GetAccessTokenResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

int Serve(const char* path) {
  PrepareProcessForRpc();
  RaiseFileLimit();
  SetLogLevel(LogLevel::kWarning);
  absl::StatusOr<Listener> listener = Listener::Create({path});
  if (!listener.ok()) {
    std::fprintf(stderr, "bare_daemon: %s\n", listener.status().ToString().c_str());
    return 1;
  }
  std::vector<ConnectionServer::Endpoint> endpoints;
  endpoints.push_back(
      {*std::move(listener), [](const Caller&) { return std::make_unique<EmptyTokenService>(); }});
  SystemClock clock;
  auto server = ConnectionServer::Start(std::move(endpoints), {}, clock);
  if (!server.ok()) {
    std::fprintf(stderr, "bare_daemon: %s\n", server.status().ToString().c_str());
    return 1;
  }
  char ignored;
  while (::read(STDIN_FILENO, &ignored, 1) > 0) {
  }
  return (*server)->Shutdown(absl::ZeroDuration(), absl::Seconds(10)) ? 0 : 1;
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bare_daemon SOCKET\n");
    return 2;
  }
  return smartkey::Serve(argv[1]);
}
