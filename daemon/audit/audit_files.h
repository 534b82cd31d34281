// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "daemon/model/audit_entry.h"

namespace smartkey {

// The files of the audit log, "audit-<first number, 20 digits>.log" in one directory. Each begins
// with a line that names the head before it, so that it can be checked when older ones are gone.

struct AuditFile {
  std::string path;
  uint64_t first_sequence = 0;
};

// By first number. Empty if there is no such directory.
std::vector<AuditFile> ListAuditFiles(const std::string& directory);

// Reads whole lines from a file, also from one that is being written. Not thread-safe.
class AuditFileReader {
 public:
  // Errors: kStoreUnavailable.
  static absl::StatusOr<AuditFileReader> Open(const std::string& path);

  // The next line without its end; valid until the next call. nullopt: no whole line is there yet.
  // A line of more than a megabyte is given as an empty one, which is none of the log's. Errors:
  // kStoreUnavailable.
  absl::StatusOr<absl::optional<absl::string_view>> Next();

  // What stands after the last whole line.
  absl::string_view unfinished() const { return absl::string_view(buffer_).substr(begin_); }
  size_t rest() const { return skipped_ + buffer_.size() - begin_; }

 private:
  explicit AuditFileReader(UniqueFd fd, std::string path)
      : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
  std::string buffer_;
  size_t begin_ = 0;    // of what was not given out
  size_t skipped_ = 0;  // of a line that is too long, and was not kept
};

// The end of the log, at which lines are added. Used by one thread.
class AuditWriter {
 public:
  struct Options {
    std::string directory;
    absl::Duration retention = absl::Hours(24 * 365);
    uint64_t max_size = uint64_t{1} << 30;  // of all files; reached: as a full disk
    uint64_t file_size = 16 << 20;          // then a new file begins
    absl::Duration file_period = absl::Hours(24 * 7);
    std::function<int(int fd)> sync;  // has the disk keep a file; empty: fdatasync(2)
  };

  explicit AuditWriter(Options options) : options_(std::move(options)) {}

  // Finds the end: makes the directory if it is absent, checks the newest file, and cuts off what a
  // kill in the middle of a line left behind. A newest file that is damaged otherwise stays as it
  // is, and a new one begins after it; one without a whole line that is more than a kill leaves is
  // put aside as "<name>.damaged". Removes what has not to be kept any more. Errors:
  // kStoreUnavailable; may be called again.
  absl::Status Open(absl::Time now);

  // Writes entries, giving them numbers and hashes. Nothing of them is in the log after an error:
  // kStoreUnavailable, kStoreFull; the same may be tried again.
  absl::Status Append(std::vector<AuditEntry>& entries, absl::Time now);

  // Has the disk keep what was written, and looks whether the file is still the log's. After an
  // error it is not known what is kept of all that was appended since the last success: it is to be
  // appended again, and goes to a new file, since a second call would say that all is well. Errors:
  // kStoreUnavailable.
  absl::Status Sync();

  bool is_open() const { return static_cast<bool>(fd_); }
  const AuditHead& head() const { return head_; }

 private:
  absl::Status FindEnd();
  absl::Status PutAside(std::vector<AuditFile>& files);
  absl::Status CheckNewest(const AuditFile& newest);
  absl::Status BeginFile(absl::Time now);
  absl::Status Write(absl::string_view text);
  absl::Status SyncFile();
  absl::Status GiveUpFile(absl::Status why);
  uint64_t OlderSize() const;

  const Options options_;
  UniqueFd fd_;
  std::string path_;         // of the newest file
  uint64_t size_ = 0;        // of the newest file
  uint64_t older_size_ = 0;  // of the others
  absl::Time begun_;         // the newest file's first line
  AuditHead head_;
  AuditHead before_file_;  // the head when the newest file began
  bool kept_ = false;      // the disk has kept something of the newest file
  bool end_known_ = false;
  std::string damage_;  // why the newest file is not gone on with
};

}  // namespace smartkey
