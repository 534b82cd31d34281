// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/state_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr char kLockFile[] = "lock";

absl::Status Failed(absl::string_view what, const std::string& path, int error) {
  return WithRemedy(
      MakeError(Reason::kStoreUnavailable, absl::StrCat(what, " ", path, ": ", strerror(error))),
      "check that the state directory exists, is writable for smartkeyd's user, and that its disk "
      "is not full or read-only");
}

std::string ReadPid(int lock) {
  char text[16];
  const ssize_t size = pread(lock, text, sizeof(text), 0);
  int pid = 0;
  if (size <= 0 || !absl::SimpleAtoi(absl::string_view(text, static_cast<size_t>(size)), &pid)) {
    return "unknown";  // locked, and not written yet
  }
  return absl::StrCat(pid);
}

absl::Status TakeLock(int lock, const std::string& path) {
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failed("locking", path, errno);
    return MakeError(Reason::kAlreadyRunning,
                     absl::StrCat("another smartkeyd, pid ", ReadPid(lock), ", holds ", path));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  // For people only: a full disk does not make the lock less of one.
  if (ftruncate(lock, 0) == 0 && pwrite(lock, pid.data(), pid.size(), 0) < 0) errno = 0;
  return absl::OkStatus();
}

}  // namespace

StateDirectory::StateDirectory(std::string path, UniqueFd directory, UniqueFd lock)
    : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}

absl::StatusOr<StateDirectory> StateDirectory::Lock(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Failed("making the state directory", path, errno);
  }
  UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return Failed("opening the state directory", path, errno);
  struct stat status = {};
  if (fstat(directory.get(), &status) != 0) {
    return Failed("looking at the state directory", path, errno);
  }
  if ((status.st_mode & 077) != 0 && fchmod(directory.get(), 0700) != 0) {
    return Failed("closing the state directory to others", path, errno);
  }
  UniqueFd lock(
      openat(directory.get(), kLockFile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return Failed("opening the lock in", path, errno);
  if (absl::Status taken = TakeLock(lock.get(), path); !taken.ok()) return taken;
  return StateDirectory(path, std::move(directory), std::move(lock));
}

absl::Status StateDirectory::CreatePrivateFile(const std::string& file) const {
  unlinkat(directory_.get(), file.c_str(), 0);
  const UniqueFd fd(openat(directory_.get(), file.c_str(),
                           O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Failed("making", PathOf(file), errno);
  return absl::OkStatus();
}

absl::Status StateDirectory::Replace(const std::string& from, const std::string& to) const {
  const UniqueFd fd(openat(directory_.get(), from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || fsync(fd.get()) != 0) return Failed("writing", PathOf(from), errno);
  if (renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0 ||
      fsync(directory_.get()) != 0) {
    return Failed("replacing", PathOf(to), errno);
  }
  return absl::OkStatus();
}

absl::Status StateDirectory::MakePrivate(const std::string& file) const {
  if (fchmodat(directory_.get(), file.c_str(), 0600, 0) != 0) {
    return Failed("closing to others", PathOf(file), errno);
  }
  return absl::OkStatus();
}

}  // namespace smartkey
