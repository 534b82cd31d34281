// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/unique_fd.h"

namespace smartkey {

// A descriptor that systemd passed to this process (sd_listen_fds(3)): a listening socket or one
// from the file descriptor store, told apart by `name` (FileDescriptorName=).
struct InheritedFd {
  std::string name;
  UniqueFd fd;
};

// Takes them all, once: a second call finds none. Errors: kConfigInvalid when the environment is
// malformed.
absl::StatusOr<std::vector<InheritedFd>> TakeInheritedFds();

// A listening unix stream socket, non-blocking, with the deepest backlog the kernel gives.
//
// One that was created here owns its path: a lock file beside it (PATH.lock) is held as long as the
// object lives, so that two daemons cannot take each other's socket away, and the path is removed
// at the end. An inherited one owns nothing but the descriptor. Not thread-safe.
class Listener {
 public:
  struct Options {
    std::string path;
    mode_t mode = 0666;
    // Group of the socket. When the process may not give the file to that group (it is not root and
    // no member), the socket gets another mode instead. 0666 is right where who may use it is
    // decided by who is calling.
    absl::optional<gid_t> group;
    mode_t mode_without_group = 0666;
  };

  // Errors: kAlreadyRunning (another process holds the lock or answers on the path), kConfigInvalid
  // (path too long for sun_path, its directory missing, not writable or another's to write,
  // something there that is no socket).
  static absl::StatusOr<Listener> Create(Options options);

  // Errors: kConfigInvalid when it is no listening unix stream socket.
  static absl::StatusOr<Listener> FromInherited(UniqueFd fd);

  Listener(Listener&& other) noexcept = default;
  Listener& operator=(Listener&& other) noexcept = delete;
  ~Listener();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }  // empty when inherited

 private:
  Listener() = default;

  UniqueFd fd_;
  UniqueFd lock_;
  std::string path_;
};

}  // namespace smartkey
