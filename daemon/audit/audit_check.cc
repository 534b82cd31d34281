// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_check.h"

#include <algorithm>
#include <deque>
#include <map>

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

std::string FactOf(const AuditEntry& entry, absl::string_view name) {
  for (const auto& [key, value] : entry.facts) {
    if (key == name) return value;
  }
  return "";
}

class Check {
 public:
  explicit Check(const absl::optional<AuditHead>& anchor) : anchor_(anchor) {}

  void Take(absl::string_view line, bool begins_file) {
    const absl::StatusOr<AuditEntry> entry = ParseAuditLine(line);
    if (!entry.ok()) return Break("is not readable");
    if (begins_file) {
      const absl::optional<AuditHead> previous =
          AuditHead::Parse(FactOf(*entry, kAuditFilePrevious));
      const std::string damage = FactOf(*entry, kAuditFileAfterDamage);
      if (!damage.empty()) {
        found_.problems.push_back(
            absl::StrCat("a file begins at entry ", entry->sequence,
                         " after damage that was found at a start: ", damage));
      }
      if (!started_ && previous.has_value()) {
        head_ = *previous;  // older files are gone, as their time was over
        found_.first_sequence = entry->sequence;
      } else if (previous != absl::make_optional(head_)) {
        Break(absl::StrCat("begins a file that does not follow entry ", head_.sequence));
        if (previous.has_value()) head_ = *previous;
      }
      started_ = true;
    }
    if (entry->sequence != head_.sequence + 1 || !FitsAfter(head_.hash, line)) {
      Break("was changed, or one before it was taken out");
      head_ = {entry->sequence, entry->hash};  // the rest may fit among itself
      return;
    }
    head_ = {entry->sequence, entry->hash};
    if (broken()) return;
    ++found_.entries;
    found_.head = head_;
    hashes_.push_back(head_.hash);
    if (hashes_.size() > kHashesKept) hashes_.pop_front();
    if (entry->operation == kAuditCheckpoint) TakeCheckpoint(*entry);
    if (anchor_.has_value() && anchor_->sequence == head_.sequence) {
      if (anchor_->hash == head_.hash) {
        found_.anchored_sequence = head_.sequence;
      } else {
        found_.problems.push_back(absl::StrCat(
            "entry ", head_.sequence, " is not the one of the anchor: the log was written anew"));
      }
      anchor_met_ = true;
    }
  }

  void Torn() { Break("is cut off"); }

  AuditVerification End(const AuditHead& written) {
    // More may have been written since.
    if (!broken() && HashAt(written.sequence).value_or(written.hash) != written.hash) {
      found_.problems.push_back("what is in the files is not what was written");
      found_.first_broken = written.sequence;
    } else if (!broken() && found_.head.sequence < written.sequence) {
      found_.problems.push_back(absl::StrCat("the files end at entry ", found_.head.sequence,
                                             ", but entry ", written.sequence, " was written"));
      found_.first_broken = found_.head.sequence + 1;
    }
    if (anchor_.has_value() && !anchor_met_) {
      found_.problems.push_back(
          anchor_->sequence < found_.first_sequence
              ? absl::StrCat("the anchor, entry ", anchor_->sequence,
                             ", is older than what is kept")
              : absl::StrCat("the anchor, entry ", anchor_->sequence,
                             ", is not reached: the log ends, or is broken, before it"));
    }
    return std::move(found_);
  }

 private:
  bool broken() const { return found_.first_broken.has_value(); }

  void Break(absl::string_view how) {
    const uint64_t sequence = head_.sequence + 1;
    if (!broken()) found_.first_broken = sequence;
    if (found_.problems.size() < 20) {
      found_.problems.push_back(absl::StrCat("entry ", sequence, " ", how));
    }
  }

  // The hash of an entry that fits, if it is recent enough.
  absl::optional<std::string> HashAt(uint64_t sequence) const {
    if (sequence > head_.sequence) return absl::nullopt;
    const uint64_t back = head_.sequence - sequence;
    if (back >= hashes_.size()) return absl::nullopt;
    return hashes_[hashes_.size() - 1 - back];
  }

  void TakeCheckpoint(const AuditEntry& entry) {
    const absl::optional<AuditHead> head = AuditHead::Parse(FactOf(entry, kCheckpointHead));
    if (!head.has_value() || HashAt(head->sequence) != head->hash) {
      found_.problems.push_back(
          absl::StrCat("the checkpoint in entry ", entry.sequence, " is about another log"));
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
      found_.problems.push_back(
          absl::StrCat("the signature of the checkpoint in entry ", entry.sequence, " is wrong"));
      return;
    }
    ++found_.signed_checkpoints;
    found_.signed_sequence = head->sequence;
    const std::string thumbprint = JwkThumbprint(*key);
    if (std::find(found_.key_thumbprints.begin(), found_.key_thumbprints.end(), thumbprint) ==
        found_.key_thumbprints.end()) {
      found_.key_thumbprints.push_back(thumbprint);
    }
  }

  const absl::optional<AuditHead>& anchor_;
  AuditVerification found_;
  AuditHead head_;  // of the line before, whether it fits or not
  bool started_ = false;
  bool anchor_met_ = false;
  std::deque<std::string> hashes_;  // of the last entries that fit; the newest is head_'s
};

}  // namespace

absl::StatusOr<AuditVerification> CheckAuditFiles(const std::string& directory,
                                                  const AuditHead& written,
                                                  const absl::optional<AuditHead>& anchor) {
  Check check(anchor);
  const std::vector<AuditFile> files = ListAuditFiles(directory);
  for (size_t i = 0; i < files.size(); ++i) {
    absl::StatusOr<AuditFileReader> reader = AuditFileReader::Open(files[i].path);
    if (!reader.ok()) return reader.status();
    bool begins_file = true;
    while (true) {
      const absl::StatusOr<absl::optional<absl::string_view>> line = reader->Next();
      if (!line.ok()) return line.status();
      if (!line->has_value()) break;
      check.Take(**line, begins_file);
      begins_file = false;
    }
    if (reader->rest() > 0 && i + 1 < files.size()) check.Torn();
  }
  return check.End(written);
}

}  // namespace smartkey
