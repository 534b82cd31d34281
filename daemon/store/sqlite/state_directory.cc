// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/state_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/access_list.h"
#include "base/account_names.h"
#include "base/error.h"
#include "base/service_user.h"

namespace smartkey {
namespace {

constexpr char kLockFile[] = "lock";
constexpr size_t kMostText = 4096;
constexpr size_t kCopiedAtOnce = 64 * 1024;
// What SQLite may leave beside a database.
constexpr const char* kCompanions[] = {"-wal", "-shm", "-journal"};

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

std::string FolderOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

absl::Status TakeLock(int fd, const UniqueFd& lock, const std::string& path) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  if (errno != EWOULDBLOCK) return Failed("locking", path, errno);
  return MakeError(Reason::kAlreadyRunning,
                   absl::StrCat("another smartkeyd, pid ", lock ? ReadPid(lock.get()) : "unknown",
                                ", holds ", path));
}

// What is in it may be somebody else's work if others could write it: whose registrations and keys
// would be served then is for a person to say.
absl::Status CheckOnlyOurs(const std::string& path, const struct stat& info,
                           const absl::optional<std::string>& list) {
  const ServiceUser user = ServiceUser::Find();
  const std::string owner = UserNameOf(user.uid);
  absl::optional<ForeignWriter> found = FindForeignWriter(path, info, list, user, owner);
  // Not for a group of the service's own either: others may be in it.
  if (!found.has_value() && (info.st_mode & S_IWGRP) != 0) {
    found = {absl::StrCat("can be written by the group ", GroupNameOf(info.st_gid)), ""};
  }
  if (!found.has_value()) return absl::OkStatus();
  absl::Status refused = MakeError(Reason::kConfigInvalid,
                                   absl::StrCat("the state directory ", path, " ", found->why));
  const bool is_anothers = info.st_uid != user.uid;
  if (is_anothers && (info.st_mode & S_ISVTX) != 0) {
    return WithRemedy(std::move(refused),
                      "name a directory of smartkeyd's own as state_dir: others use this one");
  }
  // The command first: the journal's lines are cut short.
  const std::string command = absl::StrCat(
      is_anothers ? absl::StrCat("chown ", owner, " ", path, "; ") : "", "chmod 0700 ", path);
  return WithRemedy(std::move(refused),
                    absl::StrCat("'", command,
                                 "', after a look at what is in it and whose it is ('ls -lA'): "
                                 "others could have put it there"));
}

// Absent where the file system takes no writes: then the lock of the directory has to do.
absl::StatusOr<UniqueFd> OpenLockFile(int directory, const std::string& path) {
  UniqueFd lock(openat(directory, kLockFile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock || errno == EROFS || errno == ENOSPC || errno == EDQUOT || errno == EACCES) return lock;
  return Failed("opening the lock in", path, errno);
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
  if (absl::Status ours = CheckOnlyOurs(path, status, AccessListOf(directory.get())); !ours.ok())
    return ours;
  if ((status.st_mode & 077) != 0 && fchmod(directory.get(), 0700) != 0) {
    return Failed("closing the state directory to others", path, errno);
  }
  absl::StatusOr<UniqueFd> lock = OpenLockFile(directory.get(), path);
  if (!lock.ok()) return lock.status();
  if (absl::Status taken = TakeLock(directory.get(), *lock, path); !taken.ok()) return taken;
  if (*lock) {
    if (absl::Status taken = TakeLock(lock->get(), *lock, path); !taken.ok()) return taken;
    const std::string pid = absl::StrCat(getpid(), "\n");
    // For people only: a full disk does not make the lock less of one.
    if (ftruncate(lock->get(), 0) == 0 && pwrite(lock->get(), pid.data(), pid.size(), 0) < 0) {
      errno = 0;
    }
  }
  return StateDirectory(path, std::move(directory), *std::move(lock));
}

std::string StateDirectory::PathOf(absl::string_view file) const {
  return absl::StrCat(path_, "/", file);
}

absl::Status StateDirectory::Explain(absl::Status status) const {
  struct statvfs file_system = {};
  if (ReasonOf(status) != Reason::kStoreUnavailable ||
      fstatvfs(directory_.get(), &file_system) != 0) {
    return status;
  }
  if ((file_system.f_flag & ST_RDONLY) != 0) {
    return Annotate(std::move(status), absl::StrCat(path_, " is on a read-only file system"));
  }
  if (file_system.f_bavail == 0) {
    return Annotate(std::move(status), absl::StrCat("the disk of ", path_, " is full"));
  }
  return status;
}

bool StateDirectory::Exists(const std::string& file) const {
  struct stat status = {};
  return fstatat(directory_.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 ||
         errno != ENOENT;
}

bool StateDirectory::IsFile(const std::string& file) const {
  struct stat status = {};
  return fstatat(directory_.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(status.st_mode);
}

bool StateDirectory::IsWritable(const std::string& file) const {
  return faccessat(directory_.get(), file.c_str(), W_OK, AT_EACCESS) == 0;
}

absl::Status StateDirectory::CheckRoom(size_t size) const {
  // Without a name, so that it is gone with the descriptor, whatever happens to the process.
  const UniqueFd fd(openat(directory_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  const int error = fd ? posix_fallocate(fd.get(), 0, static_cast<off_t>(size)) : errno;
  if (error == 0 || error == EOPNOTSUPP || error == EISDIR) return absl::OkStatus();
  return Failed("looking for room in", path_, error);
}

std::vector<std::string> StateDirectory::List(const std::string& folder) const {
  std::vector<std::string> names;
  UniqueFd fd(
      openat(directory_.get(), folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return names;
  DIR* const stream = fdopendir(fd.get());
  if (stream == nullptr) return names;
  fd.release();  // closedir closes it
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status StateDirectory::MakeFolder(const std::string& folder) const {
  if (mkdirat(directory_.get(), folder.c_str(), 0700) != 0) {
    if (errno != EEXIST) return Failed("making", PathOf(folder), errno);
    struct stat status = {};
    if (fstatat(directory_.get(), folder.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(status.st_mode)) {
      return absl::OkStatus();
    }
    return Failed("making", PathOf(folder), ENOTDIR);
  }
  return SyncFolder(FolderOf(folder));
}

absl::Status StateDirectory::CreatePrivateFile(const std::string& file) const {
  if (absl::Status status = RemoveDatabase(file); !status.ok()) return status;
  const UniqueFd fd(openat(directory_.get(), file.c_str(),
                           O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Failed("making", PathOf(file), errno);
  return absl::OkStatus();
}

absl::Status StateDirectory::Replace(const std::string& from, const std::string& to) const {
  const UniqueFd fd(openat(directory_.get(), from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || fsync(fd.get()) != 0) return Failed("writing", PathOf(from), errno);
  if (renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0) {
    return Failed("replacing", PathOf(to), errno);
  }
  return SyncFolder(FolderOf(to));
}

absl::Status StateDirectory::CopyDatabase(const std::string& from, const std::string& to) const {
  if (absl::Status status = RemoveDatabase(to); !status.ok()) return status;
  if (absl::Status status = CopyFile(from, to); !status.ok()) return status;
  for (const char* suffix : {"-wal", "-journal"}) {
    const std::string companion = absl::StrCat(from, suffix);
    if (!Exists(companion)) continue;
    absl::Status status = CopyFile(companion, absl::StrCat(to, suffix));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status StateDirectory::CopyFile(const std::string& from, const std::string& to) const {
  // O_NONBLOCK: a pipe of this name must not hold up the thread.
  const UniqueFd in(
      openat(directory_.get(), from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!in) return Failed("reading", PathOf(from), errno);
  const UniqueFd out(openat(directory_.get(), to.c_str(),
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return Failed("making", PathOf(to), errno);
  std::string buffer(kCopiedAtOnce, '\0');
  for (;;) {
    const ssize_t size = read(in.get(), buffer.data(), buffer.size());
    if (size == 0) return absl::OkStatus();
    if (size < 0) return Failed("reading", PathOf(from), errno);
    for (ssize_t written = 0; written < size;) {
      const ssize_t one =
          write(out.get(), buffer.data() + written, static_cast<size_t>(size - written));
      if (one < 0) return Failed("writing", PathOf(to), errno);
      written += one;
    }
  }
}

absl::Status StateDirectory::LinkInto(const std::string& folder, const std::string& file) const {
  const std::string name = file.substr(file.rfind('/') + 1);
  const std::string to = absl::StrCat(folder, "/", name);
  if (linkat(directory_.get(), file.c_str(), directory_.get(), to.c_str(), 0) == 0 ||
      errno == ENOENT) {
    return absl::OkStatus();
  }
  return Failed("setting aside", PathOf(file), errno);
}

absl::Status StateDirectory::SyncFolder(const std::string& folder) const {
  const UniqueFd fd(openat(directory_.get(), folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return Failed("writing", PathOf(folder), errno);
  return absl::OkStatus();
}

absl::Status StateDirectory::RemoveDatabase(const std::string& file) const {
  // Those first: left behind they would be read into the next file of this name.
  if (absl::Status status = RemoveLogsOf(file); !status.ok()) return status;
  const absl::StatusOr<bool> removed = Remove(file);
  if (!removed.ok()) return removed.status();
  return *removed ? SyncFolder(FolderOf(file)) : absl::OkStatus();
}

absl::Status StateDirectory::RemoveLogsOf(const std::string& file) const {
  bool any = false;
  for (const char* companion : kCompanions) {
    const absl::StatusOr<bool> removed = Remove(absl::StrCat(file, companion));
    if (!removed.ok()) return removed.status();
    any = any || *removed;
  }
  return any ? SyncFolder(FolderOf(file)) : absl::OkStatus();
}

absl::StatusOr<bool> StateDirectory::Remove(const std::string& file) const {
  if (unlinkat(directory_.get(), file.c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  return Failed("removing", PathOf(file), errno);
}

absl::Status StateDirectory::MakePrivate(const std::string& file) const {
  struct stat status = {};
  if (fstatat(directory_.get(), file.c_str(), &status, 0) == 0 &&
      (status.st_mode & 07777) == 0600) {
    return absl::OkStatus();  // also where nothing may be written
  }
  if (fchmodat(directory_.get(), file.c_str(), 0600, 0) != 0) {
    return Failed("closing to others", PathOf(file), errno);
  }
  return absl::OkStatus();
}

absl::Status StateDirectory::WriteText(const std::string& file, absl::string_view text) const {
  const std::string fresh = absl::StrCat(file, ".new");
  if (absl::Status status = CreatePrivateFile(fresh); !status.ok()) return status;
  const UniqueFd fd(openat(directory_.get(), fresh.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Failed("writing", PathOf(fresh), errno);
  }
  return Replace(fresh, file);
}

std::string StateDirectory::ReadText(const std::string& file) const {
  // O_NONBLOCK: a pipe of this name must not hold up the start.
  const UniqueFd fd(
      openat(directory_.get(), file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return std::string();
  std::string text(kMostText, '\0');
  const ssize_t size = read(fd.get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

}  // namespace smartkey
