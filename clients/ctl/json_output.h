// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "smartkey/admin_client.h"
#include "smartkey/types.h"

// What --json prints. Keys and their meaning are described in README.md; they are not renamed and
// do not change meaning while "version" is 1, new ones may come. A fact that is not known is left
// out, a list never is. Times are RFC 3339 in UTC, lengths of time seconds.
namespace smartkey::ctl {

nlohmann::json ToJson(const absl::Status& error);
nlohmann::json ToJson(const client::Cause& cause);
nlohmann::json ToJson(const client::Registration& registration);
nlohmann::json ToJson(const client::Share& share);
nlohmann::json ToJson(const client::AccessRequest& request);
nlohmann::json ToJson(const client::AccessAnswer& answer);
nlohmann::json ToJson(const client::AccessExplanation& explanation);
nlohmann::json ToJson(const client::Server& server);
nlohmann::json ToJson(const client::App& app);
nlohmann::json ToJson(const client::Hardware& hardware);
nlohmann::json ToJson(const client::DaemonStatus& status);
// What `store status` shows: the part "store" of the above.
nlohmann::json StoreToJson(const client::DaemonStatus& status);
nlohmann::json ToJson(const client::StoreRecovery& recovery);
nlohmann::json ToJson(const client::ConfigReload& reload);
nlohmann::json ToJson(const client::AuditEntry& entry);
nlohmann::json ToJson(const client::AuditVerification& found);
nlohmann::json ToJson(const client::DiagnosticResult& result);
nlohmann::json ToJson(const client::Key& key);
nlohmann::json ToJson(const client::StoredKeys::Key& key);
nlohmann::json ToJson(const client::StoredKeys& stored);

// Holds the token: for standard output only.
nlohmann::json RevealToJson(const client::AccessToken& token);
nlohmann::json RevealToJson(const client::ClientAssertion& assertion);

// The whole output: `content` with "version", indented, in ASCII, with a newline.
std::string ToJsonDocument(nlohmann::json content);

// The same on one line: for commands that print one object after the other.
std::string ToJsonLine(nlohmann::json content);

}  // namespace smartkey::ctl
