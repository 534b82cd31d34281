// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace smartkey {

// If stderr is a stream of systemd's journal (JOURNAL_STREAM, systemd.exec(5)), has the log go to
// it with fields: a field "registration" is SMARTKEY_REGISTRATION there, "reason" SMARTKEY_REASON,
// and so on, for journalctl to match. Call it before there are threads.
void LogToJournal();

}  // namespace smartkey
