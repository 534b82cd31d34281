// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/rpc_raw_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

constexpr char kData = 0, kHeaders = 1, kSettings = 4, kGoAway = 7;
constexpr char kEndStream = 1, kEndHeaders = 4;

std::string Frame(char type, char flags, char stream, absl::string_view payload) {
  std::string out{static_cast<char>(payload.size() >> 16),
                  static_cast<char>(payload.size() >> 8),
                  static_cast<char>(payload.size()),
                  type,
                  flags,
                  0,
                  0,
                  0,
                  stream};
  absl::StrAppend(&out, payload);
  return out;
}

std::string Header(absl::string_view name, absl::string_view value) {
  return absl::StrCat(absl::string_view("\0", 1), std::string(1, static_cast<char>(name.size())),
                      name, std::string(1, static_cast<char>(value.size())), value);
}

}  // namespace

absl::StatusOr<RawClient> RawClient::Connect(const std::string& socket_path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return absl::UnavailableError(strerror(errno));
  }
  return RawClient(std::move(fd));
}

std::string RawClient::Request(absl::string_view path, absl::string_view message) {
  const std::string headers =
      absl::StrCat(Header(":method", "POST"), Header(":scheme", "http"), Header(":path", path),
                   Header(":authority", "localhost"), Header("content-type", "application/grpc"),
                   Header("te", "trailers"));
  const std::string prefix{0, 0, 0, 0, static_cast<char>(message.size())};
  return absl::StrCat("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Frame(kSettings, 0, 0, ""),
                      Frame(kHeaders, kEndHeaders, 1, headers),
                      Frame(kData, kEndStream, 1, absl::StrCat(prefix, message)));
}

bool RawClient::Send(absl::string_view bytes) {
  return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

absl::StatusOr<RawClient::Answer> RawClient::ReadAnswer(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  Answer answer;
  while (true) {
    while (received_.size() >= 9) {
      const auto* head = reinterpret_cast<const unsigned char*>(received_.data());
      const size_t size = head[0] << 16 | head[1] << 8 | head[2];
      if (received_.size() < 9 + size) break;
      const char type = received_[3], flags = received_[4], stream = received_[8];
      const std::string payload = received_.substr(9, size);
      received_.erase(0, 9 + size);
      if (type == kGoAway) answer.go_away = true;
      if (stream != 1) continue;
      if (type == kHeaders) answer.headers += payload;
      if (type == kData && payload.size() >= 5 && answer.message.empty()) {
        answer.message = payload.substr(5);
      }
      if ((type == kHeaders || type == kData) && (flags & kEndStream) != 0) return answer;
    }
    absl::StatusOr<bool> more = Receive(deadline);
    if (!more.ok()) return more.status();
    if (!*more) {
      answer.closed = true;
      return answer;
    }
  }
}

bool RawClient::WaitForClose(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (true) {
    absl::StatusOr<bool> more = Receive(deadline);
    if (!more.ok()) return false;
    if (!*more) return true;
  }
}

absl::StatusOr<bool> RawClient::Receive(absl::Time deadline) {
  pollfd poll_fd{fd_.get(), POLLIN, 0};
  const auto left = static_cast<int>(absl::ToInt64Milliseconds(deadline - absl::Now()));
  if (left <= 0 || poll(&poll_fd, 1, left) == 0) return absl::DeadlineExceededError("no answer");
  char buffer[4096];
  const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
  if (n <= 0) return false;
  received_.append(buffer, n);
  return true;
}

std::string VarintField(int number, uint64_t value) {
  std::string out(1, static_cast<char>(number << 3));
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
  return out;
}

uint64_t FindVarint(absl::string_view message, int number) {
  size_t i = 0;
  const auto read = [&] {
    uint64_t value = 0;
    for (int shift = 0; i < message.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[i++]);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (i < message.size()) {
    const uint64_t tag = read();
    const uint64_t value = read();
    if (tag >> 3 == static_cast<uint64_t>(number)) return value;
  }
  return 0;
}

}  // namespace smartkey
