// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace smartkey {

// The directory that holds the database, and the lock that keeps a second daemon out of it. The
// lock (flock on the file "lock") ends with the object or with the process, however that ends.
// Thread-safe.
class StateDirectory {
 public:
  // Makes the directory (not its parents) if it is absent, takes access away from everybody but the
  // owner, and locks it. Errors: kAlreadyRunning naming the pid that holds the lock;
  // kStoreUnavailable.
  static absl::StatusOr<StateDirectory> Lock(const std::string& path);

  std::string PathOf(const std::string& file) const { return path_ + "/" + file; }

  // Makes an empty file with mode 0600, in place of one that is there.
  absl::Status CreatePrivateFile(const std::string& file) const;
  // Puts `from` in the place of `to`, durably: the content, then the name.
  absl::Status Replace(const std::string& from, const std::string& to) const;
  // Mode 0600, whatever it was.
  absl::Status MakePrivate(const std::string& file) const;

 private:
  StateDirectory(std::string path, UniqueFd directory, UniqueFd lock);

  std::string path_;
  UniqueFd directory_;
  UniqueFd lock_;
};

}  // namespace smartkey
