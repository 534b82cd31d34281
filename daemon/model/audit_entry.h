// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "daemon/model/caller.h"

namespace smartkey {

// What belongs to an entry by its operation: names and values, none of them secret or Identifying.
using AuditFacts = std::vector<std::pair<std::string, std::string>>;

// There, and "yes", if the caller was in a container.
inline constexpr char kContainerFact[] = "container";

// One line of the audit log; field for field as smartkey.v1.AuditEntry, which explains each.
struct AuditEntry {
  struct User {
    uid_t uid = 0;
    std::string name;
    friend bool operator==(const User& a, const User& b) {
      return a.uid == b.uid && a.name == b.name;
    }
  };

  uint64_t sequence = 0;  // given when it is written, as `hash`
  absl::Time time;
  absl::optional<User> user;   // absent: smartkeyd itself
  absl::optional<User> login;  // whom the person logged in as, if another
  pid_t pid = 0;
  std::string unit;
  std::string executable;
  bool admin = false;
  std::string operation;
  std::string registration_id;
  Reason outcome = Reason::kUnspecified;  // success
  uint64_t repeats = 0;
  AuditFacts facts;
  std::string hash;  // 64 hexadecimal digits
};

// An entry of now about what `caller` did, without sequence and hash; null: smartkeyd itself.
AuditEntry MakeAuditEntry(const Caller* caller, absl::string_view operation,
                          absl::string_view registration_id, Reason outcome, absl::Time now);

// Where the log stands: the newest entry, written "12345:<hash>". Sequence 0 with a hash of zeros
// is before the first.
struct AuditHead {
  uint64_t sequence = 0;
  std::string hash = std::string(64, '0');

  std::string ToString() const;
  static absl::optional<AuditHead> Parse(absl::string_view text);
  friend bool operator==(const AuditHead& a, const AuditHead& b) {
    return a.sequence == b.sequence && a.hash == b.hash;
  }
};

// How the log does; as smartkey.v1.AuditStatus, but for `key`.
struct AuditCondition {
  absl::Status writing;  // OK while the disk takes it
  AuditHead head;
  uint64_t lost = 0;
  size_t waiting = 0;
  absl::optional<AuditHead> checkpoint;
  absl::Time checkpoint_at = absl::InfinitePast();
  // Why the last checkpoint has no signature, or could not be sent to the journal.
  absl::Status signing;
  // Since when lines are written that no checkpoint has. Absent: none are.
  absl::optional<absl::Time> uncovered_since;
  // RFC 7638 thumbprint of the key that has signed since the start. Absent: none has, or another
  // one is being made in its place.
  absl::optional<std::string> key;
};

// What a check of the whole log found; as smartkey.v1.AuditVerification.
struct AuditVerification {
  uint64_t entries = 0;  // that form an unbroken chain, from the oldest kept one on
  absl::optional<uint64_t> first_broken;
  uint64_t first_sequence = 0;
  AuditHead head;
  uint32_t signed_checkpoints = 0;
  uint32_t unsigned_checkpoints = 0;
  uint64_t signed_sequence = 0;
  std::vector<std::string> key_thumbprints;
  uint64_t anchored_sequence = 0;
  std::vector<std::string> problems;
};

}  // namespace smartkey
