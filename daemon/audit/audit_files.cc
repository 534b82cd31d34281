// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/audit/audit_line.h"

namespace smartkey {
namespace {

constexpr size_t kLongestLine = 1 << 20;
constexpr size_t kBlock = 64 * 1024;

absl::Status Failed(absl::string_view doing, const std::string& path, int error) {
  const Reason reason =
      error == ENOSPC || error == EDQUOT ? Reason::kStoreFull : Reason::kStoreUnavailable;
  return MakeError(reason, absl::StrCat(doing, " ", path, ": ", strerror(error)));
}

std::string NameOf(uint64_t first_sequence) {
  return absl::StrFormat("audit-%020d.log", first_sequence);
}

bool HasNoWholeLine(const AuditFile& file) {
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(file.path);
  if (!reader.ok()) return false;
  const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
  return line.ok() && !line->has_value();
}

uint64_t SizeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

}  // namespace

std::vector<AuditFile> ListAuditFiles(const std::string& directory) {
  std::vector<AuditFile> files;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return files;
  while (const dirent* one = readdir(dir.get())) {
    absl::string_view name = one->d_name;
    AuditFile file;
    file.path = absl::StrCat(directory, "/", name);
    if (absl::ConsumePrefix(&name, "audit-") && absl::ConsumeSuffix(&name, ".log") &&
        absl::SimpleAtoi(name, &file.first_sequence)) {
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(), [](const AuditFile& a, const AuditFile& b) {
    return a.first_sequence < b.first_sequence;
  });
  return files;
}

absl::StatusOr<AuditFileReader> AuditFileReader::Open(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return Failed("opening", path, errno);
  return AuditFileReader(std::move(fd), path);
}

absl::StatusOr<absl::optional<absl::string_view>> AuditFileReader::Next() {
  size_t looked_at = begin_;
  while (true) {
    const size_t end = buffer_.find('\n', looked_at);
    if (end != std::string::npos) {
      const absl::string_view line(buffer_.data() + begin_, end - begin_);
      begin_ = end + 1;
      return absl::make_optional(line);
    }
    if (buffer_.size() - begin_ > kLongestLine) {
      return MakeError(Reason::kStoreUnavailable, absl::StrCat(path_, " has a line without end"));
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    looked_at = buffer_.size();
    buffer_.resize(looked_at + kBlock);
    ssize_t got;
    do {
      got = read(fd_.get(), buffer_.data() + looked_at, kBlock);
    } while (got < 0 && errno == EINTR);
    buffer_.resize(looked_at + std::max<ssize_t>(got, 0));
    if (got < 0) return Failed("reading", path_, errno);
    if (got == 0) return absl::optional<absl::string_view>();
  }
}

absl::Status AuditWriter::Open(absl::Time now) {
  fd_.reset();
  damage_.clear();
  if (mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return Failed("making", options_.directory, errno);
  }
  std::vector<AuditFile> files = ListAuditFiles(options_.directory);
  // A kill just after a file was made, before its first line was in it: nothing is lost with it.
  while (!files.empty() && HasNoWholeLine(files.back())) {
    if (unlink(files.back().path.c_str()) != 0) return Failed("removing", files.back().path, errno);
    files.pop_back();
  }
  older_size_ = 0;
  for (size_t i = 0; i + 1 < files.size(); ++i) older_size_ += SizeOf(files[i].path);
  if (files.empty()) {
    head_ = AuditHead();
    return BeginFile(now);
  }
  if (absl::Status status = CheckNewest(files.back()); !status.ok()) return status;
  if (damage_.empty()) return absl::OkStatus();
  Log(LogLevel::kError, "the audit log is damaged: what was written stays, and a new file begins",
      {{"file", files.back().path}, {"damage", damage_}});
  older_size_ += SizeOf(files.back().path);
  return BeginFile(now);
}

// Leaves the file open at its end, or says in `damage_` why not.
absl::Status AuditWriter::CheckNewest(const AuditFile& newest) {
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(newest.path);
  if (!reader.ok()) return reader.status();
  head_ = AuditHead();
  uint64_t end = 0;
  bool first = true;
  while (true) {
    absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
    if (!line.ok()) {
      damage_ = std::string(line.status().message());
      break;
    }
    if (!line->has_value()) break;
    const absl::StatusOr<AuditEntry> entry = ParseAuditLine(**line);
    if (entry.ok() && first) {
      for (const auto& [name, value] : entry->facts) {
        if (name == kAuditFilePrevious) head_ = AuditHead::Parse(value).value_or(AuditHead());
      }
      begun_ = entry->time;
      first = false;
    }
    if (!entry.ok() || !FitsAfter(head_.hash, **line) || entry->sequence != head_.sequence + 1) {
      damage_ = absl::StrCat("the line after entry ", head_.sequence, " does not fit");
      break;
    }
    head_ = {entry->sequence, entry->hash};
    end += (*line)->size() + 1;
  }
  if (!damage_.empty() || first) {
    // Not to be numbered as something that is there.
    head_.sequence = std::max(head_.sequence, newest.first_sequence);
    if (damage_.empty()) damage_ = "the newest file has no whole line";
    return absl::OkStatus();
  }
  UniqueFd fd(open(newest.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return Failed("opening", newest.path, errno);
  if (reader->rest() > 0) {
    Log(LogLevel::kWarning, "the audit log ends in the middle of a line, which is cut off",
        {{"bytes", reader->rest()}});
    if (ftruncate(fd.get(), static_cast<off_t>(end)) != 0) {
      return Failed("writing", newest.path, errno);
    }
  }
  fd_ = std::move(fd);
  size_ = end;
  return absl::OkStatus();
}

absl::Status AuditWriter::BeginFile(absl::Time now) {
  AuditEntry first = MakeAuditEntry(nullptr, kAuditFileBegins, "", Reason::kUnspecified, now);
  first.facts.emplace_back(kAuditFilePrevious, head_.ToString());
  if (!damage_.empty()) first.facts.emplace_back(kAuditFileAfterDamage, damage_);
  const std::string line = ToAuditLine(head_, first);
  const std::string path = absl::StrCat(options_.directory, "/", NameOf(first.sequence));
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Failed("making", path, errno);

  if (fd_) older_size_ += size_;
  UniqueFd before = std::move(fd_);
  const uint64_t size_before = size_;
  fd_ = std::move(fd);
  size_ = 0;
  if (absl::Status status = Write(line); !status.ok()) {
    unlink(path.c_str());
    fd_ = std::move(before);
    if (fd_) older_size_ -= size_before;
    size_ = size_before;
    return status;
  }
  if (const UniqueFd folder(open(options_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      folder) {
    fsync(folder.get());
  }
  if (before) fdatasync(before.get());
  damage_.clear();
  begun_ = now;
  head_ = {first.sequence, first.hash};
  RemoveOld(now);
  return absl::OkStatus();
}

absl::Status AuditWriter::Write(absl::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n =
        pwrite(fd_.get(), text.data() + done, text.size() - done, static_cast<off_t>(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n < 0 ? errno : EIO;
      // Half a line would break the chain for whoever reads it now.
      if (ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) fd_.reset();
      return Failed("writing to", options_.directory, error);
    }
    done += static_cast<size_t>(n);
  }
  size_ += text.size();
  return absl::OkStatus();
}

absl::Status AuditWriter::Append(std::vector<AuditEntry>& entries, absl::Time now) {
  if (!fd_) {
    if (absl::Status status = Open(now); !status.ok()) return status;
  }
  if (size_ >= options_.file_size || now - begun_ >= options_.file_period) {
    if (absl::Status status = BeginFile(now); !status.ok()) return status;
  }
  AuditHead head = head_;
  std::string text;
  for (AuditEntry& entry : entries) {
    text += ToAuditLine(head, entry);
    head = {entry.sequence, entry.hash};
  }
  if (older_size_ + size_ + text.size() > options_.max_size) {
    return WithRemedy(
        MakeError(Reason::kStoreFull, "the audit log has the size that the configuration allows"),
        "copy its older files elsewhere and remove them, or raise [audit] max_size_mb");
  }
  if (absl::Status status = Write(text); !status.ok()) return status;
  head_ = head;
  return absl::OkStatus();
}

absl::Status AuditWriter::Sync() {
  if (fd_ && fdatasync(fd_.get()) != 0) return Failed("writing to", options_.directory, errno);
  return absl::OkStatus();
}

// A file goes when all of its lines are older than they have to be kept: when the next one began
// that long ago.
void AuditWriter::RemoveOld(absl::Time now) {
  const std::vector<AuditFile> files = ListAuditFiles(options_.directory);
  for (size_t i = 0; i + 1 < files.size(); ++i) {
    absl::StatusOr<AuditFileReader> next = AuditFileReader::Open(files[i + 1].path);
    if (!next.ok()) return;
    const absl::StatusOr<absl::optional<absl::string_view>> line = next->Next();
    if (!line.ok() || !line->has_value()) return;
    const absl::StatusOr<AuditEntry> begins = ParseAuditLine(**line);
    if (!begins.ok() || now - begins->time < options_.retention) return;
    const uint64_t size = SizeOf(files[i].path);
    if (unlink(files[i].path.c_str()) == 0) older_size_ -= std::min(older_size_, size);
    return;  // one for each that begins: a clock that is wrong for a moment takes not all of them
  }
}

}  // namespace smartkey
