// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/access_list.h"
#include "base/account_names.h"
#include "base/error.h"
#include "base/log.h"
#include "base/service_user.h"

namespace smartkey {
namespace {

absl::Status SystemError(Reason reason, absl::string_view what) {
  return MakeError(reason, absl::StrCat(what, ": ", strerror(errno)));
}

std::string DirectoryOf(const std::string& path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

// What the file system does not let smartkeyd do with a socket, and what the administrator does
// about it.
absl::Status NotAllowed(absl::string_view what, const std::string& path, int error) {
  absl::Status status =
      MakeError(Reason::kConfigInvalid, absl::StrCat(what, " ", path, ": ", strerror(error)));
  const std::string user = UserNameOf(geteuid());
  const std::string directory = DirectoryOf(path);
  if (error == ENOENT || error == ENOTDIR) {
    return WithRemedy(std::move(status), absl::StrCat("make its directory: 'install -d -o ", user,
                                                      " -m 755 ", directory, "'"));
  }
  if ((error == EACCES || error == EPERM) && access(directory.c_str(), W_OK | X_OK) == 0) {
    return WithRemedy(
        std::move(status),
        absl::StrCat("take away what another user left there: 'rm ", path, " ", path, ".lock'"));
  }
  if (error == EACCES || error == EPERM) {
    return WithRemedy(
        std::move(status),
        absl::StrCat("give the socket a directory of its own in the configuration, or let ", user,
                     " write there: 'chown ", user, " ", directory, "'"));
  }
  return WithRemedy(std::move(status),
                    absl::StrCat("see to it that ", user, " can write to ", directory,
                                 ", or give the socket another place in the configuration"));
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/') {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid, absl::StrCat("socket path ", path, " is not absolute")),
        "write the socket's whole path into the configuration, from / on");
  }
  // One byte is for the terminating zero: clients in other languages need it.
  if (path.size() >= sizeof address.sun_path) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid, absl::StrCat("socket path ", path, " is longer than ",
                                                       sizeof address.sun_path - 1, " bytes")),
        "give the socket a shorter path in the configuration");
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

absl::StatusOr<UniqueFd> TakeLock(const std::string& path) {
  UniqueFd lock(
      open(absl::StrCat(path, ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return NotAllowed("opening lock of", path, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return MakeError(Reason::kAlreadyRunning,
                     absl::StrCat("another process holds the lock of ", path));
  }
  return lock;
}

// Removes a socket that nobody listens on. Any other file there is somebody's mistake, and kept.
absl::Status RemoveStaleSocket(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return NotAllowed("looking at", path, errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid, absl::StrCat(path, " exists and is no socket")),
        absl::StrCat("take it away: 'mv ", path, " ", path, ".old', or name another path"));
  }
  // The lock says that no daemon of ours made it; systemd or anything else may be listening still.
  // EAGAIN: a live listener with a full backlog.
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    return MakeError(Reason::kAlreadyRunning, absl::StrCat("another process listens on ", path));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return NotAllowed("removing stale socket", path, errno);
  }
  return absl::OkStatus();
}

// Mode and group of the bound path. chmod, since bind() has applied the umask.
absl::Status SetAccess(const Listener::Options& options) {
  mode_t mode = options.mode;
  struct stat made {};
  // A directory with the setgid bit has given it to its own group already; the unit does not allow
  // chown at all.
  const bool is_groups = options.group.has_value() && lstat(options.path.c_str(), &made) == 0 &&
                         made.st_gid == *options.group;
  if (options.group.has_value() && !is_groups &&
      chown(options.path.c_str(), static_cast<uid_t>(-1), *options.group) != 0) {
    mode = options.mode_without_group;
    Log(LogLevel::kWarning,
        mode == 0666 ? "socket cannot be given to its group; callers are checked one by one"
                     : "socket cannot be given to its group, which has no access",
        {{"path", options.path}, {"error", strerror(errno)}});
  }
  if (chmod(options.path.c_str(), mode) != 0) {
    return NotAllowed("setting mode of", options.path, errno);
  }
  return absl::OkStatus();
}

// Whoever may rename in it what others have put there could put a socket of his own into this one's
// place.
absl::Status CheckDirectory(const std::string& path) {
  const std::string directory = DirectoryOf(path);
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0) return absl::OkStatus();  // bind() says it
  // As /tmp: nobody but its owner renames what is another's.
  if ((info.st_mode & S_ISVTX) != 0) info.st_mode &= ~static_cast<mode_t>(S_IWGRP | S_IWOTH);
  const absl::optional<ForeignWriter> found = FindForeignWriter(
      directory, info, AccessListOf(directory), ServiceUser::Find(), UserNameOf(geteuid()));
  if (!found.has_value()) return absl::OkStatus();
  // Whoever it belongs to needs it as it is.
  const bool is_anothers = info.st_uid != 0 && info.st_uid != geteuid();
  return WithRemedy(
      MakeError(Reason::kConfigInvalid, absl::StrCat("another's socket could take the place of ",
                                                     path, ": ", directory, " ", found->why)),
      is_anothers
          ? "give the socket a directory of its own in the configuration"
          : absl::StrCat("'", found->command, "', or give the socket a directory of its own"));
}

}  // namespace

absl::StatusOr<std::vector<InheritedFd>> TakeInheritedFds() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (count < 0) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid,
                  absl::StrCat("reading descriptors from systemd: ", strerror(-count))),
        "start it without LISTEN_FDS and LISTEN_PID in its environment, or let systemd start it");
  }
  std::vector<InheritedFd> inherited;
  for (int i = 0; i < count; ++i) {
    inherited.push_back({names != nullptr && names[i] != nullptr ? names[i] : "",
                         UniqueFd(SD_LISTEN_FDS_START + i)});
    if (names != nullptr) free(names[i]);
  }
  free(names);
  return inherited;
}

absl::StatusOr<Listener> Listener::Create(Options options) {
  absl::StatusOr<sockaddr_un> address = AddressOf(options.path);
  if (!address.ok()) return address.status();
  if (absl::Status status = CheckDirectory(options.path); !status.ok()) return status;
  absl::StatusOr<UniqueFd> lock = TakeLock(options.path);
  if (!lock.ok()) return lock.status();
  if (absl::Status status = RemoveStaleSocket(options.path, *address); !status.ok()) return status;

  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SystemError(Reason::kInternal, "making a unix socket");
  // bind() gives the path this mode, less the umask: nobody gets in before SetAccess.
  if (fchmod(fd.get(), 0600) != 0) return SystemError(Reason::kInternal, "closing a new socket");
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return NotAllowed("binding", options.path, errno);
  }
  Listener listener;
  listener.fd_ = std::move(fd);
  listener.lock_ = *std::move(lock);
  listener.path_ = options.path;
  // The kernel cuts it to net.core.somaxconn (4096): a burst of apps at login must not see
  // ECONNREFUSED.
  if (listen(listener.fd_.get(), SOMAXCONN) != 0) {
    return SystemError(Reason::kInternal, absl::StrCat("listening on ", options.path));
  }
  if (absl::Status status = SetAccess(options); !status.ok()) return status;
  return listener;
}

absl::StatusOr<Listener> Listener::FromInherited(UniqueFd fd) {
  if (sd_is_socket_unix(fd.get(), SOCK_STREAM, /*listening=*/1, nullptr, 0) <= 0) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid,
                  "the descriptor from systemd is no listening unix stream socket"),
        "its .socket unit must have ListenStream= with a path: 'systemctl cat smartkeyd.socket "
        "smartkeyd-admin.socket'");
  }
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return SystemError(Reason::kInternal, "making the socket from systemd non-blocking");
  }
  Listener listener;
  listener.fd_ = std::move(fd);
  return listener;
}

Listener::~Listener() {
  // Under the lock, so that it is still ours. The lock file stays: removing it would race with its
  // next holder.
  if (lock_ && !path_.empty()) unlink(path_.c_str());
}

}  // namespace smartkey
