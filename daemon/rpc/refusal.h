// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace smartkey {

// Refusing a connection without building a gRPC server for it, which would cost more than the
// refused peer pays: a few fixed HTTP/2 frames give its first call a typed gRPC status. A bare
// GOAWAY would leave that call waiting for its deadline.

// The frames: SETTINGS (sent at once: a gRPC client opens no stream before it), then an answer on
// stream 1 that ends it with `code`, `message` (printable ASCII without '%') and, unless empty,
// `grpc-status-details-bin`, then GOAWAY. RFC 9113, RFC 7541 (literals without indexing or
// Huffman).
struct RefusalBytes {
  std::string settings;
  std::string answer;
};
RefusalBytes MakeRefusal(int code, absl::string_view message, absl::string_view details);

// Looks through what an HTTP/2 client sends for the HEADERS frame that opens stream 1. Keeps a few
// bytes, whatever the peer sends.
class FirstStreamScanner {
 public:
  // True once the frame's header was seen.
  bool Feed(absl::string_view bytes);

 private:
  static constexpr size_t kPrefaceSize = 24;  // "PRI * HTTP/2.0 ..."
  static constexpr size_t kFrameHeaderSize = 9;

  size_t skip_ = kPrefaceSize;  // still to be passed over
  unsigned char header_[kFrameHeaderSize] = {};
  size_t have_ = 0;
  bool seen_ = false;
};

// The connections that are being refused: each is answered when its first call arrives and closed
// when the peer has gone or two seconds have passed. At most 256 at a time; the oldest gives way.
// Used by the accept thread only.
class RefusalDesk {
 public:
  // `epoll` gets their descriptors with the given ids as data.
  explicit RefusalDesk(int epoll) : epoll_(epoll) {}

  // `refusal` must outlive the connection.
  void Add(uint64_t id, UniqueFd fd, const RefusalBytes& refusal, BootTime now);
  // True if `id` is one of them.
  bool OnReadable(uint64_t id);
  // Closes what is overdue.
  void Expire(BootTime now);
  // When Expire has something to do next; InfiniteFuture when there is nothing.
  BootTime next_expiry() const;
  int size() const { return static_cast<int>(refused_.size()); }

 private:
  struct Refused {
    UniqueFd fd;
    const RefusalBytes* bytes;
    FirstStreamScanner scanner;
    BootTime deadline;
    size_t received = 0;
    bool answered = false;
  };

  void Close(uint64_t id);

  const int epoll_;
  std::map<uint64_t, Refused> refused_;  // ids ascend, so the first is the oldest
};

}  // namespace smartkey
