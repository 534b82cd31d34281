// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "daemon/model/audit_entry.h"

namespace smartkey {

// If stderr is a stream of systemd's journal (JOURNAL_STREAM, systemd.exec(5)), has the log go to
// it with fields: a field "registration" is SMARTKEY_REGISTRATION there, "reason" SMARTKEY_REASON,
// and so on, for journalctl to match. Call it before there are threads.
void LogToJournal();

// Where journald listens (systemd-journald.service(8)).
inline constexpr char kJournalSocket[] = "/run/systemd/journal/socket";

// Sends a head of the audit log to the journal, as SMARTKEY_AUDIT_HEAD with SMARTKEY_KEY, whatever
// the log's level is; to stderr if that is no journal. Errors: kStoreUnavailable, also where
// nobody listens at `journal_socket`.
absl::Status PublishAuditHead(const AuditHead& head, const std::string& thumbprint,
                              const std::string& journal_socket = kJournalSocket);

}  // namespace smartkey
