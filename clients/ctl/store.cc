// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

constexpr char kAnotherMachine[] =
    "\nThis database was written on another computer. Nothing was changed. Keys that\n"
    "live in that computer's TPM cannot be used here: their registrations will say\n"
    "KEY_LOST_OTHER_MACHINE and need 'smartkeyctl renew'. If that computer still runs\n"
    "smartkeyd with this database, only one of the two may go on with it: the server\n"
    "sees both as one client. When this is the one, or when this machine merely got\n"
    "a new /etc/machine-id, say so with 'smartkeyctl store adopt'.\n";

std::string CopiesText(const client::DaemonStatus& status) {
  if (status.store_copies.empty()) return "";
  Table table({"COPY", "MADE"});
  for (const client::StoreCopy& copy : status.store_copies) {
    table.AddRow(
        {copy.file, copy.made_at.has_value() ? TimeText(*copy.made_at) : "it cannot be read"});
  }
  return absl::StrCat("\n", table.ToText());
}

std::string StatusText(const client::DaemonStatus& status) {
  Record record;
  record.Add("Database", status.store_available ? "available" : "NOT AVAILABLE");
  record.Add("  problem", status.store_problem);
  if (status.store_cause.has_value()) record.Add("  what to do", status.store_cause->remedy);
  if (status.schema_version > 0) record.Add("Version", absl::StrCat(status.schema_version));
  record.Add("Copies", status.store_copies.empty() ? "none yet"
                                                   : "one a day and before an upgrade, see below");
  if (status.store_copying_error.has_value()) {
    record.Add("  not made now", status.store_copying_error->remedy);
  }
  record.Add("Set aside", status.store_set_aside);
  return absl::StrCat(record.ToText(), CopiesText(status));
}

absl::Status RunStatus(const Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  auto status = (*client)->GetStatus();
  if (!status.ok()) return status.status();
  if (session.json) {
    session.out << ToJsonDocument({{"store", StoreToJson(*status)}});
    return absl::OkStatus();
  }
  session.out << StatusText(*status);
  if (!status->store_set_aside.empty()) {
    session.err
        << "\nWhat was set aside still holds keys and names, also of what was deleted since.\n"
           "Remove those folders when they are needed no more.\n";
  }
  if (status->store_of_another_machine) session.err << kAnotherMachine;
  return absl::OkStatus();
}

void ShowSetAside(const Session& session, const std::string& folder) {
  if (folder.empty()) return;
  session.err << "The old files are set aside in " << TerminalText(folder, 1024)
              << ".\nThey still hold keys and names, also of what is deleted later: remove that\n"
                 "folder when it is needed no more.\n";
}

std::string RecoveryText(const client::StoreRecovery& recovery) {
  Record record;
  record.Add("Recovered",
             absl::StrCat(recovery.from_memory + recovery.from_damaged_file + recovery.from_copy,
                          " registrations"));
  if (recovery.from_memory > 0) {
    record.Add("  from memory", absl::StrCat(recovery.from_memory, ", as they are now"));
  }
  if (recovery.from_damaged_file > 0) {
    record.Add("  from the damaged file",
               absl::StrCat(recovery.from_damaged_file, ", as they were last"));
  }
  // Also where nothing came from it: what is told of since when refers to it.
  if (recovery.copy.has_value()) {
    record.Add("  from a copy",
               absl::StrCat(recovery.from_copy, ", as of ",
                            recovery.copy->made_at.has_value() ? TimeText(*recovery.copy->made_at)
                                                               : "an unknown time",
                            ", ", recovery.copy->file));
  }
  return record.ToText();
}

absl::Status RunRecover(const Session& session, const std::string& copy) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  auto recovery = (*client)->RecoverStore(copy);
  if (!recovery.ok()) return recovery.status();
  if (session.json) {
    session.out << ToJsonDocument({{"recovery", ToJson(*recovery)}});
    return absl::OkStatus();
  }
  session.out << RecoveryText(*recovery);
  if (recovery->incomplete) {
    session.err << "Not all of the damaged file could be read: what was enrolled or changed "
                << (recovery->copy.has_value() ? "since\nthat copy may" : "in it\nmay")
                << " be missing. Whoever misses a registration enrolls again.\n";
  }
  ShowSetAside(session, recovery->set_aside);
  session.err << "smartkeyd serves them already; it need not be restarted.\n";
  return absl::OkStatus();
}

absl::Status RunReset(const Session& session, bool yes) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  if (!yes) {
    const absl::Status confirmed = session.Confirm(
        "Everybody has to enroll again. The old files are set aside.\n"
        "Begin anew with an empty database?",
        "nothing was reset; 'smartkeyctl store recover' keeps what can be kept");
    if (!confirmed.ok()) return confirmed;
  }
  auto folder = (*client)->ResetStore();
  if (!folder.ok()) return folder.status();
  if (session.json) {
    nlohmann::json out = nlohmann::json::object();
    if (!folder->empty()) out["set_aside"] = *folder;
    session.out << ToJsonDocument(std::move(out));
    return absl::OkStatus();
  }
  session.out << "The database is empty.\n";
  ShowSetAside(session, *folder);
  return absl::OkStatus();
}

absl::Status RunAdopt(const Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  if (absl::Status status = (*client)->AdoptStore(); !status.ok()) return status;
  if (session.json) {
    session.out << ToJsonDocument(nlohmann::json::object());
  } else {
    session.out << "This computer is now the one that uses the database.\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddStore(CLI::App& app, Session& session) {
  CLI::App* store = app.add_subcommand(
      "store", "Show the database, recover a damaged one, or begin anew; over the admin socket");
  store->require_subcommand(1);
  store->add_subcommand("status", "Show how the database and its copies do")->callback([&session] {
    session.run = [&session] { return RunStatus(session); };
  });

  auto copy = std::make_shared<std::string>();
  CLI::App* recover = store->add_subcommand(
      "recover", "Take up what a damaged or lost database and its copies still hold");
  recover->add_option("--from", *copy, "Only what this copy holds")->type_name("COPY");
  recover->callback(
      [&session, copy] { session.run = [&session, copy] { return RunRecover(session, *copy); }; });

  auto yes = std::make_shared<bool>(false);
  CLI::App* reset = store->add_subcommand("reset", "Begin anew where the database cannot be read");
  reset->add_flag("--yes", *yes, "Do not ask");
  reset->callback(
      [&session, yes] { session.run = [&session, yes] { return RunReset(session, *yes); }; });

  store->add_subcommand("adopt", "Say that this computer is the one that goes on with the database")
      ->callback([&session] { session.run = [&session] { return RunAdopt(session); }; });
}

}  // namespace smartkey::ctl
