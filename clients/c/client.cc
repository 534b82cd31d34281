// SPDX-License-Identifier: Apache-2.0
#include "smartkey/client.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_join.h"
#include "clients/c/objects.h"

namespace smartkey::capi {
namespace {

// The process that made the first client, and so has gRPC's threads. 0: none yet.
std::atomic<pid_t> connected{0};

}  // namespace

absl::Status CheckProcess() {
  const pid_t process = connected;
  if (process == 0 || process == getpid()) return absl::OkStatus();
  return WithRemedy(
      MakeError(Reason::kInvalidArgument,
                "smartkeyd cannot be called in a child of a process that has connected to it"),
      "connect after fork(), in the child alone, or exec() another program there");
}

std::string Text(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

std::string Joined(const std::vector<std::string>& words) {
  return absl::StrJoin(words, " ");
}

int64_t UnixSeconds(const absl::optional<absl::Time>& time) {
  return time.has_value() ? absl::ToUnixSeconds(*time) : 0;
}

client::CallOptions Within(int64_t timeout_ms) {
  if (timeout_ms <= 0) return {};
  return {.timeout = absl::Milliseconds(timeout_ms)};
}

}  // namespace smartkey::capi

using smartkey::capi::Text;
using smartkey::capi::Try;
using smartkey::client::Client;

const char* smartkey_version(void) noexcept {
  return SMARTKEY_VERSION;
}

smartkey_client* smartkey_client_connect(const char* socket_path, smartkey_error** error) noexcept {
  auto client = Try(error, [&] { return Client::Connect(Text(socket_path)); });
  if (!client.ok()) return nullptr;
  smartkey::capi::connected = getpid();
  return new smartkey_client{*std::move(client)};
}

void smartkey_client_free(smartkey_client* client) noexcept {
  // In a child it stays, since taking gRPC down waits for its threads.
  if (smartkey::capi::CheckProcess().ok()) delete client;
}
