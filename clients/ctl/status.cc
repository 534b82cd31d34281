// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/problem_text.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

std::string HardwareText(const client::DaemonStatus& status) {
  std::string text =
      absl::StrCat(Name(status.hardware.state), ", ", Name(status.hardware.provider));
  if (!status.hardware.description.empty())
    absl::StrAppend(&text, ", ", status.hardware.description);
  return text;
}

std::string RegistrationsText(const client::DaemonStatus& status) {
  std::vector<std::string> parts;
  for (const auto& count : status.registrations) {
    parts.push_back(absl::StrCat(count.count, " ", Name(count.state)));
  }
  if (status.suspended_registrations > 0) {
    parts.push_back(absl::StrCat("(", status.suspended_registrations, " suspended)"));
  }
  return parts.empty() ? "none" : absl::StrJoin(parts, ", ");
}

Record StatusRecord(const client::DaemonStatus& status) {
  Record record;
  record.Add("Version", status.version);
  record.Add("Process",
             absl::StrCat(status.pid, ", running for ",
                          absl::FormatDuration(absl::Floor(status.uptime, absl::Seconds(1)))));
  record.Add("Hardware", HardwareText(status));
  if (status.hardware.cause.has_value()) {
    record.Add("  cause", ReasonName(status.hardware.cause->reason));
    record.Add("  problem", status.hardware_problem);
    record.Add("  what to do", status.hardware.cause->remedy);
  }
  record.Add("  since", status.hardware.since);
  record.Add("  next attempt", status.hardware_next_attempt_at);
  record.Add("  detail", status.hardware_detail);
  record.Add("  algorithms", status.hardware.algorithms);
  record.Add("  queue",
             absl::StrCat(status.queue_depth, " waiting, room for ", status.queue_limit));
  if (status.abandoned_operations > 0) {
    record.Add("  hung", absl::StrCat(status.abandoned_operations,
                                      " operations were given up since the start"));
  }
  record.Add("Database", status.store_available ? "available" : "NOT AVAILABLE");
  if (status.store_cause.has_value()) {
    record.Add("  problem", status.store_problem);
    record.Add("  what to do", status.store_cause->remedy);
  }
  if (status.store_of_another_machine) {
    record.Add("  notice", "written on another computer: see 'smartkeyctl store status'");
  }
  if (status.unsaved_changes > 0) {
    record.Add("  unsaved",
               absl::StrCat(status.unsaved_changes, " changes: do not stop smartkeyd"));
  }
  record.Add("Audit log", status.audit_available ? "written" : "NOT WRITTEN");
  if (status.audit_cause.has_value()) record.Add("  what to do", status.audit_cause->remedy);
  if (status.audit_checkpoint_error.has_value()) {
    record.Add("  newest head",
               absl::StrCat("not signed, or not in the journal (",
                            ReasonName(status.audit_checkpoint_error->reason), ")"));
    record.Add("  what to do", status.audit_checkpoint_error->remedy);
  }
  if (status.audit_lost > 0) {
    record.Add("  lost", absl::StrCat(status.audit_lost, " lines since the start"));
  }
  record.Add("Registrations", RegistrationsText(status));
  record.Add("Enrollments", absl::StrCat(status.pending_enrollments, " pending"));
  record.Add("Connections",
             absl::StrCat(status.public_connections, " public, ", status.admin_connections,
                          " admin, ", status.refused_connections, " refused so far"));
  record.Add("Token cache", absl::StrCat(status.cached_tokens, " tokens, ", status.cache_hits,
                                         " hits, ", status.token_requests, " token requests"));
  record.Add("Configuration", status.config_loaded_at);
  return record;
}

std::string ServersText(const client::DaemonStatus& status) {
  if (status.servers.empty()) return "";
  Table table({"SERVER", "STATE", "REGISTRATIONS", "LAST GOOD ANSWER", "LAST ERROR"});
  for (const auto& server : status.servers) {
    table.AddRow(
        {server.name, server.state.empty() ? "not asked yet" : server.state,
         absl::StrCat(server.registrations),
         server.last_ok_at.has_value() ? TimeText(*server.last_ok_at) : "",
         server.last_error.has_value() ? std::string(ReasonName(server.last_error->reason)) : ""});
  }
  std::string text = absl::StrCat("\n", table.ToText());
  for (const auto& server : status.servers) {
    if (!server.next_attempt_at.has_value()) continue;
    absl::StrAppend(&text, "Nothing is sent to ", TerminalText(server.name, 64), " before ",
                    TimeText(*server.next_attempt_at), ".\n");
  }
  return text;
}

absl::Status RunStatus(const Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  auto status = (*client)->GetStatus();
  if (!status.ok()) return status.status();
  if (session.json) {
    session.out << ToJsonDocument(ToJson(*status));
  } else {
    session.out << StatusRecord(*status).ToText() << ServersText(*status)
                << ProblemsText("\nProblems in the configuration:", status->config_problems)
                << ProblemsText(
                       "\nThe last reload failed, and smartkeyd would not start anew, because of:",
                       status->reload_errors);
  }
  return absl::OkStatus();
}

}  // namespace

void AddStatus(CLI::App& app, Session& session) {
  app.add_subcommand("status", "Show how smartkeyd does, over the admin socket")
      ->callback([&session] { session.run = [&session] { return RunStatus(session); }; });
}

}  // namespace smartkey::ctl
