// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_check.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/json.h"
#include "daemon/audit/audit_files.h"
#include "daemon/audit/audit_line.h"
#include "daemon/jose/jwk.h"

namespace smartkey {
namespace {

// How far behind its line the head of a checkpoint may be: it is signed while others are written.
constexpr size_t kHashesKept = 100'000;

constexpr size_t kMostSaid = 20;

}  // namespace

class AuditCheck::Core {
 public:
  Core(const std::string& directory, Expected expected)
      : expected_(std::move(expected)), files_(ListAuditFiles(directory)) {}

  absl::StatusOr<bool> CheckNext() {
    if (next_ == files_.size()) return false;
    const AuditFile& file = files_[next_++];
    absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(file.path);
    const int error = errno;
    if (!reader.ok()) {
      if (error == EMFILE || error == ENFILE || error == ENOMEM) return reader.status();
      if (error == ENOENT && !started_) return true;  // retention has just removed it
      Begin(file);
      Break(absl::StrCat("cannot be read: ", reader.status().message()));
      return true;
    }
    Begin(file);
    bool begins_file = true;
    while (true) {
      const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
      if (!line.ok()) {
        Break(absl::StrCat("cannot be read: ", line.status().message()));
        return true;
      }
      if (!line->has_value()) break;
      Take(**line, begins_file);
      begins_file = false;
    }
    if (reader->rest() > 0 && next_ < files_.size()) Break("is cut off");
    return true;
  }

  AuditVerification End() {
    CheckOldest();
    const AuditHead& written = expected_.written;
    // More may have been written since.
    if (HashAt(written.sequence).value_or(written.hash) != written.hash) {
      Say("what is in the files is not what was written");
      if (!broken()) found_.first_broken = written.sequence;
    } else if (head_.sequence < written.sequence) {
      Say(absl::StrCat("the files end at entry ", head_.sequence, ", but entry ", written.sequence,
                       " was written"));
      if (!broken()) found_.first_broken = head_.sequence + 1;
    }
    if (expected_.anchor.has_value() && !anchor_met_) {
      const uint64_t anchor = expected_.anchor->sequence;
      Say(anchor < found_.first_sequence
              ? absl::StrCat("the anchor, entry ", anchor, ", is older than what is kept")
              : absl::StrCat("the anchor, entry ", anchor,
                             ", is not reached: the log ends, or is broken, before it"));
    }
    // Whoever writes the files can sign them, too, with a key of his own.
    if (!expected_.key.has_value()) {
      found_.signed_sequence = 0;
    } else if (!last_key_.empty() && last_key_ != *expected_.key) {
      Say(absl::StrCat("the newest signed checkpoint is not by the key that signs here, ",
                       *expected_.key, ", but by ", last_key_));
      found_.signed_sequence = signed_here_;
    }
    return std::move(found_);
  }

 private:
  void Begin(const AuditFile& file) {
    if (std::exchange(started_, true)) return;
    oldest_ = {file.first_sequence - 1, ""};
    head_.sequence = oldest_.sequence;
    found_.first_sequence = file.first_sequence;
  }

  void Take(absl::string_view line, bool begins_file) {
    const absl::StatusOr<AuditEntry> entry = ParseAuditLine(line);
    if (!entry.ok()) {
      Break("is not readable");
      unreadable_ = true;
      return;
    }
    if (begins_file) TakeBegin(*entry);
    const bool fits = entry->sequence == head_.sequence + 1 && FitsAfter(head_.hash, line);
    if (!fits) {
      // What comes after a line that cannot be read is no second break, nor before that line.
      if (!unreadable_ || entry->sequence <= head_.sequence) {
        Break("was changed, or one before it was taken out");
      }
      part_.clear();  // the rest may fit among itself
    }
    unreadable_ = false;
    head_ = {entry->sequence, entry->hash};
    part_.push_back(head_.hash);
    if (part_.size() > kHashesKept) part_.pop_front();
    if (!fits) {
      part_begins_ = head_.sequence;
      return;
    }
    if (!broken()) {
      ++found_.entries;
      found_.head = head_;
    }
    if (entry->operation == kAuditCheckpoint) TakeCheckpoint(*entry);
    MeetAnchor();
  }

  void TakeBegin(const AuditEntry& entry) {
    const absl::optional<AuditHead> previous = AuditHead::Parse(FactOf(entry, kAuditFilePrevious));
    const std::string damage = FactOf(entry, kAuditFileAfterDamage);
    if (!damage.empty()) {
      Say(absl::StrCat("a file begins at entry ", entry.sequence,
                       " after damage that was found then: ", damage));
    }
    if (const auto removed = AuditHead::Parse(FactOf(entry, kAuditFileRemoved));
        removed.has_value()) {
      removed_ = removed;
    }
    if (part_.empty() && !broken() && previous.has_value()) {
      // Older files are gone, if there were any; the end looks at whether their time was over.
      oldest_ = head_ = *previous;
      found_.first_sequence = entry.sequence;
      part_begins_ = head_.sequence;
      part_.push_back(head_.hash);
    } else if (previous != absl::make_optional(head_)) {
      Break(absl::StrCat("begins a file that does not follow entry ", head_.sequence));
      if (!previous.has_value()) return;
      head_ = *previous;
      unreadable_ = false;
      part_begins_ = head_.sequence;
      part_ = {head_.hash};
    }
  }

  void CheckOldest() {
    if (!started_ || oldest_.sequence == 0) return;
    // Files that were to be removed, and are still there, are no fault.
    if (removed_.has_value() && oldest_.sequence < removed_->sequence) return;
    if (removed_.has_value() && oldest_.sequence == removed_->sequence &&
        (oldest_.hash.empty() || oldest_.hash == removed_->hash)) {
      return;
    }
    Say(absl::StrCat("the entries before ", oldest_.sequence + 1,
                     " are not there, and retention did not remove them"));
  }

  void MeetAnchor() {
    if (!expected_.anchor.has_value() || expected_.anchor->sequence != head_.sequence) return;
    anchor_met_ = true;
    if (expected_.anchor->hash != head_.hash) {
      Say(absl::StrCat("entry ", head_.sequence,
                       " is not the one of the anchor: the log was written anew"));
    } else if (broken()) {
      Say(absl::StrCat("entry ", head_.sequence,
                       " is the one of the anchor, but not all before it is as it was then"));
    } else {
      found_.anchored_sequence = head_.sequence;
    }
  }

  bool broken() const { return found_.first_broken.has_value(); }

  // An unreadable disk or a forger could have any number of them.
  void Say(std::string problem) {
    if (found_.problems.size() < kMostSaid) found_.problems.push_back(std::move(problem));
  }

  void Break(absl::string_view how) {
    const uint64_t sequence = head_.sequence + 1;
    if (!broken()) found_.first_broken = sequence;
    Say(absl::StrCat("entry ", sequence, " ", how));
  }

  // The hash of an entry of the part that the newest line belongs to, if it is recent enough.
  absl::optional<std::string> HashAt(uint64_t sequence) const {
    if (sequence > head_.sequence) return absl::nullopt;
    const uint64_t back = head_.sequence - sequence;
    if (back >= part_.size()) return absl::nullopt;
    return part_[part_.size() - 1 - back];
  }

  void TakeCheckpoint(const AuditEntry& entry) {
    const absl::optional<AuditHead> head = AuditHead::Parse(FactOf(entry, kCheckpointHead));
    // About what is not kept any more, or stands before a break: nothing can be said of it.
    if (head.has_value() && head->sequence < part_begins_) return;
    if (!head.has_value() || HashAt(head->sequence) != head->hash) {
      Say(absl::StrCat("the checkpoint in entry ", entry.sequence, " is about another log"));
      return;
    }
    const std::string encoded = FactOf(entry, kCheckpointSignature);
    if (encoded.empty()) {
      ++found_.unsigned_checkpoints;
      return;
    }
    const auto algorithm = AlgorithmFromName(FactOf(entry, kCheckpointAlgorithm));
    const absl::StatusOr<nlohmann::json> jwk = ParseJson(FactOf(entry, kCheckpointKey));
    absl::StatusOr<PublicKey> key = jwk.ok() ? ParseJwk(*jwk) : jwk.status();
    const absl::StatusOr<std::string> signature = Base64UrlDecode(encoded);
    if (!algorithm.has_value() || !key.ok() || !signature.ok() ||
        !VerifySignature(*key, *algorithm, CheckpointText(*head), *signature)) {
      Say(absl::StrCat("the signature of the checkpoint in entry ", entry.sequence, " is wrong"));
      return;
    }
    ++found_.signed_checkpoints;
    last_key_ = JwkThumbprint(*key);
    if (!broken()) {
      found_.signed_sequence = head->sequence;
      if (expected_.key == last_key_) signed_here_ = head->sequence;
    }
    std::vector<std::string>& keys = found_.key_thumbprints;
    if (keys.size() < kMostSaid && std::find(keys.begin(), keys.end(), last_key_) == keys.end()) {
      keys.push_back(last_key_);
    }
  }

  const Expected expected_;
  const std::vector<AuditFile> files_;
  size_t next_ = 0;
  bool started_ = false;
  AuditVerification found_;
  AuditHead head_;                     // of the line before, whether it fits or not
  AuditHead oldest_;                   // before the first line that is there
  absl::optional<AuditHead> removed_;  // as the log says last
  std::string last_key_;               // that signed
  uint64_t signed_here_ = 0;           // up to where, with the key that signs now
  bool anchor_met_ = false;
  bool unreadable_ = false;  // the line before
  // Since the last break.
  uint64_t part_begins_ = 0;
  std::deque<std::string> part_;  // hashes of its last lines; the newest is head_'s
};

AuditCheck::AuditCheck(const std::string& directory, Expected expected)
    : core_(std::make_unique<Core>(directory, std::move(expected))) {}

AuditCheck::~AuditCheck() = default;

absl::StatusOr<bool> AuditCheck::CheckNext() {
  return core_->CheckNext();
}

AuditVerification AuditCheck::End() {
  return core_->End();
}

absl::StatusOr<AuditVerification> CheckAuditFiles(const std::string& directory,
                                                  AuditCheck::Expected expected) {
  AuditCheck check(directory, std::move(expected));
  while (true) {
    const absl::StatusOr<bool> more = check.CheckNext();
    if (!more.ok()) return more.status();
    if (!*more) return check.End();
  }
}

}  // namespace smartkey
