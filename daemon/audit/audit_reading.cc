// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_reading.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/audit/audit_line.h"

namespace smartkey {
namespace {

constexpr int kLinesAtOnce = 512;

}  // namespace

AuditReading::AuditReading(std::string directory, AuditLog::Query query, Scheduler& scheduler,
                           std::function<void()> wake)
    : directory_(std::move(directory)),
      query_(std::move(query)),
      // As nlohmann::json writes it.
      only_(query_.registration_id.empty()
                ? ""
                : absl::StrCat("\"registration\":",
                               ToJsonText(nlohmann::json(query_.registration_id)))),
      scheduler_(scheduler),
      wake_(std::move(wake)) {}

absl::StatusOr<absl::optional<AuditEntry>> AuditReading::Next() {
  MutexLock lock(mu_);
  if (stopped_) return MakeError(Reason::kCancelled, "the reading was ended");
  if (!ready_.empty()) {
    AuditEntry entry = std::move(ready_.front());
    ready_.pop_front();
    return absl::make_optional(std::move(entry));
  }
  if (at_end_ && !query_.follow) return MakeError(Reason::kCancelled, "that was the last entry");
  waiting_ = true;
  if (!at_end_) Schedule();
  return absl::optional<AuditEntry>();
}

void AuditReading::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  ready_.clear();
}

void AuditReading::NoteWritten() {
  MutexLock lock(mu_);
  if (!query_.follow || stopped_) return;
  written_ = true;
  if (!at_end_) return;
  at_end_ = false;
  if (waiting_) Schedule();
}

void AuditReading::Schedule() {
  if (std::exchange(reading_, true)) return;
  scheduler_.RunAfter(absl::ZeroDuration(), [self = shared_from_this()] { self->ReadAhead(); });
}

void AuditReading::ReadAhead() {
  {
    MutexLock lock(mu_);
    if (stopped_) return;
    written_ = false;
  }
  std::vector<AuditEntry> entries;
  bool at_end = false;
  for (int i = 0; i < kLinesAtOnce; ++i) {
    const absl::optional<absl::string_view> line = NextLine();
    if (!line.has_value()) {
      at_end = true;
      break;
    }
    // Parsing is what takes time.
    if (!only_.empty() && !absl::StrContains(*line, only_)) continue;
    absl::StatusOr<AuditEntry> entry = ParseAuditLine(*line);
    // A damaged line is for the check to find.
    if (!entry.ok() || entry->time < query_.since) continue;
    if (!query_.wanted || query_.wanted(*entry)) entries.push_back(*std::move(entry));
  }
  bool wake = false;
  {
    MutexLock lock(mu_);
    reading_ = false;
    at_end_ = at_end && !written_;
    for (AuditEntry& entry : entries) ready_.push_back(std::move(entry));
    const bool something = !ready_.empty() || (at_end_ && !query_.follow);
    if (something) {
      wake = std::exchange(waiting_, false);
    } else if (!at_end_ && waiting_) {
      Schedule();
    }
  }
  if (wake) wake_();
}

bool AuditReading::IsTooOldBefore(const AuditFile& next) const {
  if (query_.since == absl::InfinitePast()) return false;
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(next.path);
  if (!reader.ok()) return false;
  const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
  if (!line.ok() || !line->has_value()) return false;
  const absl::StatusOr<AuditEntry> begins = ParseAuditLine(**line);
  return begins.ok() && begins->time < query_.since;
}

absl::optional<absl::string_view> AuditReading::NextLine() {
  while (true) {
    if (const auto line = LineOfFile(); line.has_value()) return line;
    // At its end: is there a later one?
    bool next = false;
    const std::vector<AuditFile> files = ListAuditFiles(directory_);
    for (size_t i = 0; i < files.size(); ++i) {
      const AuditFile& file = files[i];
      if (file_.has_value() && file.first_sequence <= file_begins_) continue;
      if (!file_.has_value() && i + 1 < files.size() && IsTooOldBefore(files[i + 1])) continue;
      absl::StatusOr<AuditFileReader> opened = AuditFileReader::Open(file.path);
      if (!opened.ok()) continue;
      // What was written to the last one between its end and now.
      if (const auto line = LineOfFile(); line.has_value()) return line;
      file_ = *std::move(opened);
      file_begins_ = file.first_sequence;
      next = true;
      break;
    }
    if (!next) return absl::nullopt;
  }
}

// A file that cannot be read is for the check to find: what comes after it is read.
absl::optional<absl::string_view> AuditReading::LineOfFile() {
  if (!file_.has_value()) return absl::nullopt;
  const absl::StatusOr<absl::optional<absl::string_view>> line = file_->Next();
  return line.ok() ? *line : absl::nullopt;
}

}  // namespace smartkey
