// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace smartkey {

// The directory that holds the database, and the lock that keeps a second daemon out of it. The
// lock ends with the object or with the process, however that ends. It is a flock on the directory
// itself, so that it needs neither space nor a writable file system, and one on the file "lock",
// which says who holds it and which 0.1.0 looks at.
//
// Files and folders are named by their path below the directory. Thread-safe. Errors:
// kStoreUnavailable, where nothing else is said.
class StateDirectory {
 public:
  // Makes the directory (not its parents) if it is absent, takes access away from everybody but the
  // owner, and locks it. Errors: kAlreadyRunning naming the pid that holds the lock; kConfigInvalid
  // if others than root and the service's user could have put something into it;
  // kStoreUnavailable.
  static absl::StatusOr<StateDirectory> Lock(const std::string& path);

  std::string PathOf(absl::string_view file) const;

  // Adds to a kStoreUnavailable what is known of the file system: that it is read-only or full,
  // which SQLite's own codes hide now and then.
  absl::Status Explain(absl::Status status) const;

  // Whether there is something of that name. What cannot be looked at counts as there.
  bool Exists(const std::string& file) const;
  // Whether it is a file itself: no link to one, no pipe.
  bool IsFile(const std::string& file) const;
  // Whether this process may write it, and its file system takes writes.
  bool IsWritable(const std::string& file) const;
  // Whether its file system has room for a file of that size. Leaves nothing behind. OK where that
  // cannot be known.
  absl::Status CheckRoom(size_t size) const;
  // The names in a folder, ascending; none if it is not there or cannot be read.
  std::vector<std::string> List(const std::string& folder) const;

  // Makes a folder with mode 0700, durably, unless it is there. A link to one is refused.
  absl::Status MakeFolder(const std::string& folder) const;
  // Makes an empty file with mode 0600 in place of one that is there, and removes what SQLite may
  // have left beside that: a log of the old one would be read into the new.
  absl::Status CreatePrivateFile(const std::string& file) const;
  // Puts `from` in the place of `to`, durably: the content, then the name.
  absl::Status Replace(const std::string& from, const std::string& to) const;
  // Copies a file of SQLite's, with the journal and log beside it, to another name, with mode 0600.
  // Not durable: for reading. Follows no link.
  absl::Status CopyDatabase(const std::string& from, const std::string& to) const;
  // Gives a file a second name in `folder`, under which it stays whatever happens to the first.
  // Durable only after SyncFolder(). OK if there is no such file.
  absl::Status LinkInto(const std::string& folder, const std::string& file) const;
  absl::Status SyncFolder(const std::string& folder) const;
  // Removes a file of SQLite's with the journal, log and index beside it. OK if there is none.
  absl::Status RemoveDatabase(const std::string& file) const;
  // The same without the file itself, and durably: whatever gets the file's name afterwards never
  // finds them beside it.
  absl::Status RemoveLogsOf(const std::string& file) const;
  // Mode 0600, whatever it was.
  absl::Status MakePrivate(const std::string& file) const;

  // A short text in a file of its own, written durably: the old or the new one is there. Absent or
  // unreadable: empty.
  absl::Status WriteText(const std::string& file, absl::string_view text) const;
  std::string ReadText(const std::string& file) const;

 private:
  StateDirectory(std::string path, UniqueFd directory, UniqueFd lock);

  // True if there was one.
  absl::StatusOr<bool> Remove(const std::string& file) const;
  absl::Status CopyFile(const std::string& from, const std::string& to) const;

  std::string path_;
  UniqueFd directory_;
  UniqueFd lock_;
};

}  // namespace smartkey
