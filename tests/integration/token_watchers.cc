// SPDX-License-Identifier: Apache-2.0
// Watches one registration's token over many connections, as an app with many windows or many apps
// of one person would.
//
//   token_watchers COUNT REGISTRATION SOCKET
//
// Prints a line whenever a number has changed, until standard input ends:
//   {"first": N, "messages": N, "ended": {"CODE": N}}
// streams that have had a message, messages in all, and ended streams by gRPC's status code.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"
#include "smartkey/v1/token.grpc.pb.h"

namespace smartkey {
namespace {

struct Counts {
  std::mutex mu;
  int first = 0, messages = 0;
  nlohmann::json ended = nlohmann::json::object();

  std::string Line() {
    const std::lock_guard<std::mutex> lock(mu);
    return nlohmann::json({{"first", first}, {"messages", messages}, {"ended", ended}}).dump();
  }
};

class Watcher : public grpc::ClientReadReactor<v1::WatchAccessTokenResponse> {
 public:
  Watcher(const std::string& registration, const std::string& socket, Counts& counts)
      : counts_(counts) {
    grpc::ChannelArguments settings;
    settings.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    stub_ = v1::TokenService::NewStub(
        grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), settings));
    request_.mutable_token()->set_registration(registration);
    context_.set_wait_for_ready(true);
    stub_->async()->WatchAccessToken(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    {
      const std::lock_guard<std::mutex> lock(counts_.mu);
      ++counts_.messages;
      if (!had_one_) ++counts_.first;
      had_one_ = true;
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::lock_guard<std::mutex> lock(counts_.mu);
    nlohmann::json& count = counts_.ended[std::to_string(status.error_code())];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }

 private:
  Counts& counts_;
  std::unique_ptr<v1::TokenService::Stub> stub_;
  grpc::ClientContext context_;
  v1::WatchAccessTokenRequest request_;
  v1::WatchAccessTokenResponse response_;
  bool had_one_ = false;
};

int Run(int count, const std::string& registration, const std::string& socket) {
  Counts counts;
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < count; ++i) {
    watchers.push_back(std::make_unique<Watcher>(registration, socket, counts));
  }
  std::string said;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (::poll(&input, 1, /*milliseconds=*/20) == 0) {
    if (std::string line = counts.Line(); line != said) {
      said = std::move(line);
      std::puts(said.c_str());
      std::fflush(stdout);
    }
  }
  std::_Exit(0);  // the streams may be in the middle of anything
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return smartkey::Run(std::atoi(argv[1]), argv[2], argv[3]);
}
