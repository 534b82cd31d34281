// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "daemon/model/audit_entry.h"

namespace smartkey {

// One line of the audit log's files:
//
//   <hash> <json>\n      hash = SHA-256(<hash of the line before> <json>), 64 hexadecimal digits
//
// so that anybody can check the chain with nothing but sha256sum; the line before the first has a
// hash of 64 zeros. Members that are empty are left out. docs/audit.md explains each. Pure
// functions.

// Gives `entry` its place after `previous`, and writes it down.
std::string ToAuditLine(const AuditHead& previous, AuditEntry& entry);

// Reads a line without its end. Does not look at whether the hash is right. Errors:
// kInvalidArgument.
absl::StatusOr<AuditEntry> ParseAuditLine(absl::string_view line);

// The fact of that name; empty if there is none.
std::string FactOf(const AuditEntry& entry, absl::string_view name);

// Whether the line's hash is that of a line after `previous_hash`.
bool FitsAfter(absl::string_view previous_hash, absl::string_view line);

// The operation of the line that begins each file, and its fact that names the head before.
inline constexpr char kAuditFileBegins[] = "smartkeyd/audit-file";
inline constexpr char kAuditFilePrevious[] = "previous";
// What the line says, too, if what was there before it is damaged.
inline constexpr char kAuditFileAfterDamage[] = "after_damage";
// And if older files had been kept long enough: the head of the last line that went with them.
inline constexpr char kAuditFileRemoved[] = "removed";

// The fact of a share: for whom it is.
inline constexpr char kPrincipalFact[] = "principal";

// The fact of a delivery: the token's hash.
inline constexpr char kTokenFact[] = "token";

// The operation of the line that says how many lines of a user were only counted.
inline constexpr char kAuditCounted[] = "smartkeyd/audit-counted";

// The operation of the line that says that a key for checkpoints was made.
inline constexpr char kAuditKeyMade[] = "smartkeyd/audit-key";

// The operation of a checkpoint, and its facts.
inline constexpr char kAuditCheckpoint[] = "smartkeyd/audit-checkpoint";
inline constexpr char kCheckpointHead[] = "head";
inline constexpr char kCheckpointAlgorithm[] = "algorithm";
inline constexpr char kCheckpointKey[] = "key";  // a public JWK
inline constexpr char kCheckpointSignature[] = "signature";

// What a checkpoint's signature is over.
std::string CheckpointText(const AuditHead& head);

}  // namespace smartkey
