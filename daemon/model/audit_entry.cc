// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/audit_entry.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace smartkey {

AuditEntry MakeAuditEntry(const Caller* caller, absl::string_view operation,
                          absl::string_view registration_id, Reason outcome, absl::Time now) {
  AuditEntry entry;
  entry.time = now;
  entry.operation = std::string(operation);
  entry.registration_id = std::string(registration_id);
  entry.outcome = outcome;
  if (caller == nullptr) return entry;
  entry.user = AuditEntry::User{caller->uid, caller->user_name};
  if (caller->login_uid.has_value() && *caller->login_uid != caller->uid) {
    entry.login = AuditEntry::User{*caller->login_uid, caller->login_name};
  }
  entry.pid = caller->pid;
  entry.unit = caller->system_unit;
  entry.executable = caller->observed_executable;
  entry.admin = caller->admin;
  if (caller->in_container) entry.facts.emplace_back(kContainerFact, "yes");
  return entry;
}

std::string AuditHead::ToString() const {
  return absl::StrCat(sequence, ":", hash);
}

absl::optional<AuditHead> AuditHead::Parse(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  AuditHead head;
  head.hash = absl::AsciiStrToLower(parts.second);
  const bool is_hex = std::all_of(head.hash.begin(), head.hash.end(),
                                  [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (!absl::SimpleAtoi(parts.first, &head.sequence) || head.hash.size() != 64 || !is_hex) {
    return absl::nullopt;
  }
  return head;
}

}  // namespace smartkey
