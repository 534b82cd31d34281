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
#include <utility>

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
constexpr size_t kLongestBegin = 4096;  // of a file's own first line
// At once: a clock that is wrong for a moment takes not all of them.
constexpr size_t kMostRemoved = 4;
constexpr size_t kShortestLine = 64;
constexpr char kDamaged[] = ".damaged";

absl::Status Failed(absl::string_view doing, const std::string& path, int error) {
  const Reason reason =
      error == ENOSPC || error == EDQUOT ? Reason::kStoreFull : Reason::kStoreUnavailable;
  return MakeError(reason, absl::StrCat(doing, " ", path, ": ", strerror(error)));
}

std::string NameOf(uint64_t first_sequence) {
  return absl::StrFormat("audit-%020d.log", first_sequence);
}

// What begins a file of the log, if that can be read.
absl::optional<AuditEntry> FirstLineOf(const AuditFile& file) {
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(file.path);
  if (!reader.ok()) return absl::nullopt;
  const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
  if (!line.ok() || !line->has_value()) return absl::nullopt;
  absl::StatusOr<AuditEntry> entry = ParseAuditLine(**line);
  if (!entry.ok()) return absl::nullopt;
  return *std::move(entry);
}

absl::optional<AuditHead> PreviousOf(const AuditEntry& begins) {
  return AuditHead::Parse(FactOf(begins, kAuditFilePrevious));
}

// What a file without a whole line is.
enum class Wholeness { kHasLine, kBegun, kDamaged };

Wholeness WholenessOf(const AuditFile& file) {
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(file.path);
  if (!reader.ok()) return Wholeness::kHasLine;  // for others to find
  const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
  if (!line.ok() || line->has_value()) return Wholeness::kHasLine;
  // A kill leaves a part of one line; a loss of power leaves zeros, and they may stand where lines
  // were.
  return reader->rest() < kLongestBegin && !absl::StrContains(reader->unfinished(), '\0')
             ? Wholeness::kBegun
             : Wholeness::kDamaged;
}

// How many of the oldest files have to be kept no longer: all of their lines are older than the
// retention, since the next one began that long ago. `last_removed`: the head before what stays.
size_t CountOld(const AuditWriter::Options& options, absl::Time now, AuditHead* last_removed) {
  const std::vector<AuditFile> files = ListAuditFiles(options.directory);
  size_t old = 0;
  absl::Time begun = now;
  for (size_t i = 0; i < files.size() && (i <= kMostRemoved || old == 0); ++i) {
    const absl::optional<AuditEntry> begins = FirstLineOf(files[i]);
    if (!begins.has_value()) continue;
    // A clock that was ahead says nothing, but that the file before had had its time.
    begun = begins->time <= now ? begins->time : begun + options.file_period;
    if (now - begun < options.retention) {
      if (i == 0) continue;
      break;
    }
    const absl::optional<AuditHead> previous = PreviousOf(*begins);
    if (i == 0 || !previous.has_value()) continue;
    old = i;
    *last_removed = *previous;
  }
  return old;
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
      return absl::make_optional(std::exchange(skipped_, 0) > 0 ? absl::string_view() : line);
    }
    if (buffer_.size() - begin_ > kLongestLine) {
      skipped_ += buffer_.size() - begin_;
      begin_ = buffer_.size();
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
  if (mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return Failed("making", options_.directory, errno);
  }
  // Once: what this process wrote it knows better than a file that the disk did not keep.
  if (!end_known_) {
    if (absl::Status status = FindEnd(); !status.ok()) return status;
    end_known_ = true;
  }
  older_size_ = OlderSize();
  if (!fd_) return BeginFile(now);
  AuditHead last_removed;
  if (CountOld(options_, now, &last_removed) > 0) {
    return BeginFile(now);  // which says what went
  }
  return absl::OkStatus();
}

absl::Status AuditWriter::FindEnd() {
  fd_.reset();
  damage_.clear();
  head_ = AuditHead();
  std::vector<AuditFile> files = ListAuditFiles(options_.directory);
  if (absl::Status status = PutAside(files); !status.ok()) return status;
  const std::string aside = damage_;
  if (!files.empty()) {
    if (absl::Status status = CheckNewest(files.back()); !status.ok()) return status;
  }
  if (damage_.empty()) return absl::OkStatus();
  if (!aside.empty()) damage_ = aside;
  fd_.reset();
  Log(LogLevel::kError, "the audit log is damaged: what was written stays, and a new file begins",
      {{"file", files.empty() ? options_.directory : files.back().path}, {"damage", damage_}});
  return absl::OkStatus();
}

// Takes away the newest files that have no whole line.
absl::Status AuditWriter::PutAside(std::vector<AuditFile>& files) {
  while (!files.empty()) {
    const std::string path = files.back().path;
    const Wholeness wholeness = WholenessOf(files.back());
    if (wholeness == Wholeness::kHasLine) break;
    // A kill just after a file was made, before its first line was in it: nothing is lost with it.
    if (wholeness == Wholeness::kBegun && unlink(path.c_str()) != 0) {
      return Failed("removing", path, errno);
    }
    if (wholeness == Wholeness::kDamaged) {
      std::string aside = absl::StrCat(path, kDamaged);
      for (int i = 2; access(aside.c_str(), F_OK) == 0; ++i) {
        aside = absl::StrCat(path, kDamaged, i);
      }
      if (rename(path.c_str(), aside.c_str()) != 0) return Failed("renaming", path, errno);
      damage_ = absl::StrCat("it had no whole line, and is now ", aside);
    }
    files.pop_back();
  }
  return absl::OkStatus();
}

// Leaves the file open at its end, or says in `damage_` why not.
absl::Status AuditWriter::CheckNewest(const AuditFile& newest) {
  absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(newest.path);
  if (!reader.ok()) return reader.status();
  const uint64_t most_lines = SizeOf(newest.path) / kShortestLine;
  uint64_t end = 0;
  bool first = true;
  std::string damage;
  while (true) {
    absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
    if (!line.ok()) {
      damage = std::string(line.status().message());
      break;
    }
    if (!line->has_value()) break;
    const absl::StatusOr<AuditEntry> entry = ParseAuditLine(**line);
    if (entry.ok() && first) {
      head_ = PreviousOf(*entry).value_or(AuditHead());
      before_file_ = head_;
      begun_ = entry->time;
      first = false;
    }
    const bool fits =
        entry.ok() && FitsAfter(head_.hash, **line) && entry->sequence == head_.sequence + 1;
    if (!fits && damage.empty()) {
      damage = absl::StrCat("the line after entry ", head_.sequence, " does not fit");
    }
    // Behind the damage, too: no number is given twice. A number that cannot be is no number.
    if (fits || (entry.ok() && entry->sequence > head_.sequence &&
                 entry->sequence <= newest.first_sequence + most_lines)) {
      head_ = {entry->sequence, entry->hash};
    }
    end += (*line)->size() + 1;
  }
  if (damage.empty() && reader->rest() > kLongestLine) damage = "its last line has no end";
  if (!damage.empty() || first) {
    // Not to be numbered as something that is there.
    head_.sequence = std::max(head_.sequence, newest.first_sequence);
    damage_ = damage.empty() ? "the newest file has no whole line" : damage;
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
  path_ = newest.path;
  size_ = end;
  kept_ = true;
  return absl::OkStatus();
}

absl::Status AuditWriter::BeginFile(absl::Time now) {
  if (fd_) {
    if (absl::Status status = Sync(); !status.ok()) return status;
  }
  AuditEntry first = MakeAuditEntry(nullptr, kAuditFileBegins, "", Reason::kUnspecified, now);
  first.facts.emplace_back(kAuditFilePrevious, head_.ToString());
  if (!damage_.empty()) first.facts.emplace_back(kAuditFileAfterDamage, damage_);
  const std::vector<AuditFile> files = ListAuditFiles(options_.directory);
  AuditHead last_removed;
  const size_t old = CountOld(options_, now, &last_removed);
  if (old > 0) first.facts.emplace_back(kAuditFileRemoved, last_removed.ToString());
  const std::string line = ToAuditLine(head_, first);
  const std::string path = absl::StrCat(options_.directory, "/", NameOf(first.sequence));
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Failed("making", path, errno);

  UniqueFd before = std::move(fd_);
  const uint64_t size_before = size_;
  fd_ = std::move(fd);
  size_ = 0;
  if (absl::Status status = Write(line); !status.ok()) {
    unlink(path.c_str());
    fd_ = std::move(before);
    size_ = size_before;
    return status;
  }
  if (const UniqueFd folder(open(options_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      folder) {
    fsync(folder.get());
  }
  path_ = path;
  kept_ = false;
  damage_.clear();
  begun_ = now;
  before_file_ = head_;
  head_ = {first.sequence, first.hash};
  if (old > 0) {
    // Not before it is certain that the log says so.
    if (absl::Status status = Sync(); !status.ok()) return status;
    for (size_t i = 0; i < old; ++i) unlink(files[i].path.c_str());
  }
  older_size_ = OlderSize();
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
    older_size_ = OlderSize();  // somebody may have taken files away
  }
  if (older_size_ + size_ + text.size() > options_.max_size) {
    return WithRemedy(
        MakeError(Reason::kStoreFull, "the audit log has the size that the configuration allows"),
        "copy its older files elsewhere and remove them, or raise [audit] max_size_mb");
  }
  if (absl::Status status = Write(text); !status.ok()) {
    if (!fd_) end_known_ = false;  // half a line is left, to be cut off
    return status;
  }
  head_ = head;
  return absl::OkStatus();
}

absl::Status AuditWriter::Sync() {
  if (!fd_) return absl::OkStatus();
  if (absl::Status status = SyncFile(); !status.ok()) return GiveUpFile(std::move(status));
  kept_ = true;
  return absl::OkStatus();
}

absl::Status AuditWriter::SyncFile() {
  const int fd = fd_.get();
  if ((options_.sync ? options_.sync(fd) : fdatasync(fd)) != 0) {
    return Failed("writing to", path_, errno);
  }
  struct stat open_file {
  }, named{};
  if (fstat(fd, &open_file) != 0) return Failed("looking at", path_, errno);
  if (stat(path_.c_str(), &named) != 0 || named.st_ino != open_file.st_ino ||
      named.st_dev != open_file.st_dev) {
    return MakeError(Reason::kStoreUnavailable, absl::StrCat(path_, " was removed or moved away"));
  }
  if (static_cast<uint64_t>(open_file.st_size) != size_) {
    return MakeError(Reason::kStoreUnavailable, absl::StrCat(path_, " was written by another"));
  }
  return absl::OkStatus();
}

absl::Status AuditWriter::GiveUpFile(absl::Status why) {
  fd_.reset();
  damage_ = std::string(why.message());
  if (!kept_) {
    // All of it is appended again: without this a disk that keeps nothing would get one file after
    // the other.
    unlink(path_.c_str());
    head_ = before_file_;
  }
  return why;
}

uint64_t AuditWriter::OlderSize() const {
  uint64_t size = 0;
  for (const AuditFile& file : ListAuditFiles(options_.directory)) {
    if (!fd_ || file.path != path_) size += SizeOf(file.path);
  }
  return size;
}

}  // namespace smartkey
