// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"

namespace smartkey {

// Just enough HTTP/2 to make one gRPC call on a connection of its own, in a few microseconds and
// without gRPC: thousands of connections a second, and peers that misbehave. Not thread-safe.
class RawClient {
 public:
  // Errors: kUnavailable when nobody listens.
  static absl::StatusOr<RawClient> Connect(const std::string& socket_path);

  // The bytes of one unary call on stream 1, from the connection preface on.
  static std::string Request(absl::string_view path, absl::string_view message);

  bool Send(absl::string_view bytes);

  struct Answer {
    std::string message;  // the first one
    std::string headers;  // all header blocks as they came, HPACK
    bool go_away = false;
    bool closed = false;  // by the other side, before the call ended
  };
  // Reads until stream 1 has ended, the peer has closed, or `limit` has passed (kDeadlineExceeded).
  absl::StatusOr<Answer> ReadAnswer(absl::Duration limit = absl::Seconds(60));

  // Reads until the peer closes. False when `limit` passed.
  bool WaitForClose(absl::Duration limit = absl::Seconds(60));

 private:
  explicit RawClient(UniqueFd fd) : fd_(std::move(fd)) {}
  // False at the end of the connection; otherwise appends to `received_`.
  absl::StatusOr<bool> Receive(absl::Time deadline);

  UniqueFd fd_;
  std::string received_;
};

// A protobuf varint field, for requests small enough to be written by hand.
std::string VarintField(int number, uint64_t value);
// The value of a varint field in a message of varint fields; 0 when absent.
uint64_t FindVarint(absl::string_view message, int number);

}  // namespace smartkey
