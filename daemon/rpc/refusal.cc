// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/refusal.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

constexpr char kHeaders = 0x1, kSettings = 0x4, kGoAway = 0x7;  // RFC 9113 section 6
constexpr char kEndStream = 0x1, kEndHeaders = 0x4;
constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr size_t kMaxRefused = 256;
constexpr size_t kMaxReceived = 64 * 1024;

void AppendUint32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::string Frame(char type, char flags, uint32_t stream, absl::string_view payload) {
  std::string out;
  AppendUint32(out, payload.size() << 8 | static_cast<unsigned char>(type));  // 24-bit length, type
  out.push_back(flags);
  AppendUint32(out, stream);
  absl::StrAppend(&out, payload);
  return out;
}

// RFC 7541 section 5.1 with a 7-bit prefix, then the string as it is (section 5.2).
void AppendString(std::string& out, absl::string_view text) {
  size_t length = text.size();
  if (length < 127) {
    out.push_back(static_cast<char>(length));
  } else {
    out.push_back(127);
    for (length -= 127; length >= 128; length /= 128)
      out.push_back(static_cast<char>(length % 128 + 128));
    out.push_back(static_cast<char>(length));
  }
  absl::StrAppend(&out, text);
}

// RFC 7541 section 6.2.2: literal header field without indexing, new name.
void AppendHeader(std::string& out, absl::string_view name, absl::string_view value) {
  out.push_back(0);
  AppendString(out, name);
  AppendString(out, value);
}

}  // namespace

RefusalBytes MakeRefusal(int code, absl::string_view message, absl::string_view details) {
  std::string headers;
  headers.push_back(static_cast<char>(0x88));  // section 6.1: index 8, ":status: 200"
  AppendHeader(headers, "content-type", "application/grpc");
  AppendHeader(headers, "grpc-status", absl::StrCat(code));
  AppendHeader(headers, "grpc-message", message);
  if (!details.empty()) {
    AppendHeader(headers, "grpc-status-details-bin", absl::Base64Escape(details));
  }
  std::string goaway;
  AppendUint32(goaway,
               1);  // stream 1 was dealt with, later ones were not: the client may try those again
  AppendUint32(goaway, 0);  // NO_ERROR
  RefusalBytes bytes;
  bytes.settings = Frame(kSettings, 0, 0, "");
  bytes.answer = absl::StrCat(Frame(kHeaders, kEndStream | kEndHeaders, 1, headers),
                              Frame(kGoAway, 0, 0, goaway));
  return bytes;
}

bool FirstStreamScanner::Feed(absl::string_view bytes) {
  while (!seen_ && !bytes.empty()) {
    const size_t passed = std::min(skip_, bytes.size());
    skip_ -= passed;
    bytes.remove_prefix(passed);
    if (bytes.empty()) break;

    const size_t taken = std::min(kFrameHeaderSize - have_, bytes.size());
    memcpy(header_ + have_, bytes.data(), taken);
    have_ += taken;
    bytes.remove_prefix(taken);
    if (have_ < kFrameHeaderSize) break;

    have_ = 0;
    skip_ = header_[0] << 16 | header_[1] << 8 | header_[2];
    const bool first_stream =
        (header_[5] & 0x7f) == 0 && header_[6] == 0 && header_[7] == 0 && header_[8] == 1;
    seen_ = header_[3] == kHeaders && first_stream;
  }
  return seen_;
}

void RefusalDesk::Add(uint64_t id, UniqueFd fd, const RefusalBytes& refusal, BootTime now) {
  if (refused_.size() >= kMaxRefused) Close(refused_.begin()->first);
  // A new socket's buffer takes these few bytes, or the peer has gone and the next event says so.
  if (send(fd.get(), refusal.settings.data(), refusal.settings.size(),
           MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return;
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = id;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd.get(), &event) != 0) return;
  refused_.emplace(id, Refused{std::move(fd), &refusal, {}, now + kPatience});
}

bool RefusalDesk::OnReadable(uint64_t id) {
  const auto found = refused_.find(id);
  if (found == refused_.end()) return false;
  Refused& refused = found->second;
  char buffer[4096];
  const ssize_t n = recv(refused.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n > 0) refused.received += n;
  if (n <= 0 || refused.received > kMaxReceived) {
    Close(id);
    return true;
  }
  if (!refused.answered && refused.scanner.Feed(absl::string_view(buffer, n))) {
    refused.answered = true;
    send(refused.fd.get(), refused.bytes->answer.data(), refused.bytes->answer.size(),
         MSG_NOSIGNAL | MSG_DONTWAIT);
    // Only our half: closing with unread bytes would reset the connection and take the answer with
    // it.
    shutdown(refused.fd.get(), SHUT_WR);
  }
  return true;
}

void RefusalDesk::Expire(BootTime now) {
  while (!refused_.empty() && refused_.begin()->second.deadline <= now)
    Close(refused_.begin()->first);
}

BootTime RefusalDesk::next_expiry() const {
  return refused_.empty() ? BootTime::InfiniteFuture() : refused_.begin()->second.deadline;
}

void RefusalDesk::Close(uint64_t id) {
  const auto found = refused_.find(id);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, found->second.fd.get(), nullptr);
  refused_.erase(found);
}

}  // namespace smartkey
