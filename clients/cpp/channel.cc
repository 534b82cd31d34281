// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/channel.h"

#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cpp/status_decode.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace smartkey::client {
namespace {

// GRPC_TRACE prints whole messages, tokens included, on stderr; gRPC reads it once, at its first
// use.
void RemoveGrpcVariables() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::vector<std::string> names;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const absl::string_view text = *variable;
      if (absl::StartsWith(text, "GRPC_")) names.emplace_back(text.substr(0, text.find('=')));
    }
    for (const std::string& name : names) unsetenv(name.c_str());
  });
}

// gRPC parses its targets as URIs.
std::string TargetOf(absl::string_view path) {
  std::string target = "unix:";
  for (const char c : path) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("/-._~", c)) {
      target.push_back(c);
    } else {
      absl::StrAppendFormat(&target, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return target;
}

grpc::ChannelArguments ChannelSettings() {
  grpc::ChannelArguments settings;
  // A program that outlives a restart of the daemon gets through again within two seconds.
  settings.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Despite its name: how long a connection may take, settings exchanged, before it counts as
  // failed. On a machine under load smartkeyd takes a while to come to it.
  settings.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20000);
  settings.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Two clients in a process share neither a connection nor its back-off.
  settings.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  settings.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  settings.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return settings;
}

}  // namespace

Channel::Channel(std::string socket_path, std::shared_ptr<grpc::Channel> grpc)
    : socket_path_(std::move(socket_path)), grpc_(std::move(grpc)) {}

absl::StatusOr<std::unique_ptr<Channel>> Channel::Open(std::string socket_path) {
  if (!absl::StartsWith(socket_path, "/")) {
    return MakeError(Reason::kInvalidArgument, "the path of the socket is not absolute");
  }
  if (socket_path.size() >= sizeof(sockaddr_un::sun_path)) {
    return MakeError(Reason::kInvalidArgument,
                     absl::StrCat("the path of the socket is longer than ",
                                  sizeof(sockaddr_un::sun_path) - 1, " bytes"));
  }
  RemoveGrpcVariables();
  auto grpc = grpc::CreateCustomChannel(TargetOf(socket_path), grpc::InsecureChannelCredentials(),
                                        ChannelSettings());
  return std::unique_ptr<Channel>(new Channel(std::move(socket_path), std::move(grpc)));
}

void Channel::Prepare(grpc::ClientContext& context, absl::Duration timeout) const {
  context.set_wait_for_ready(false);
  if (timeout < absl::InfiniteDuration()) {
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout));
  }
}

absl::Status Channel::Explain(const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !HasErrorDetail(status)) {
    return ExplainUnreachable(socket_path_);
  }
  return DecodeStatus(status);
}

}  // namespace smartkey::client
