// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/access/audit_log.h"
#include "daemon/audit/audit_files.h"

namespace smartkey {

// One reader of the log's files. A part at a time is read ahead on the log's reading thread, where
// all readers take turns.
class AuditReading : public AuditLog::Reading, public std::enable_shared_from_this<AuditReading> {
 public:
  // `scheduler` outlives this and its tasks.
  AuditReading(std::string directory, AuditLog::Query query, Scheduler& scheduler,
               std::function<void()> wake);

  absl::StatusOr<absl::optional<AuditEntry>> Next() override;
  void Stop() override;

  // There is more in the files.
  void NoteWritten();

 private:
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadAhead();
  // Whether all lines of the file before `next` are older than what is wanted.
  bool IsTooOldBefore(const AuditFile& next) const;
  // The next line, over the ends of files; nullopt: none yet.
  absl::optional<absl::string_view> NextLine();
  absl::optional<absl::string_view> LineOfFile();

  const std::string directory_;
  const AuditLog::Query query_;
  const std::string only_;  // what a line has that is wanted; empty: anything
  Scheduler& scheduler_;
  const std::function<void()> wake_;

  // The reading thread's own, one task at a time.
  absl::optional<AuditFileReader> file_;
  uint64_t file_begins_ = 0;  // the first number of `file_`

  Mutex mu_;
  std::deque<AuditEntry> ready_ ABSL_GUARDED_BY(mu_);
  bool reading_ ABSL_GUARDED_BY(mu_) = false;  // a task is under way
  bool at_end_ ABSL_GUARDED_BY(mu_) = false;   // of what is written
  bool written_ ABSL_GUARDED_BY(mu_) = false;  // something was, since the task began
  bool waiting_ ABSL_GUARDED_BY(mu_) = false;  // Next found nothing
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace smartkey
