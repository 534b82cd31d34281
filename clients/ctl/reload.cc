// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/problem_text.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

std::string ReloadText(const client::ConfigReload& reload) {
  std::string text =
      reload.changes.empty() ? "Reloaded: the apps and servers are as before.\n" : "Reloaded:\n";
  for (const std::string& change : reload.changes) {
    absl::StrAppend(&text, "  ", TerminalText(change, 512), "\n");
  }
  if (!reload.needs_restart.empty()) {
    absl::StrAppend(&text, "Not in force before the next start of smartkeyd:\n");
  }
  for (const std::string& key : reload.needs_restart) {
    absl::StrAppend(&text, "  ", TerminalText(key, 128), "\n");
  }
  return text;
}

absl::Status RunReload(Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  const size_t columns = ProseColumns(STDERR_FILENO);
  const auto reload = (*client)->ReloadConfiguration();
  if (!reload.ok()) {
    // The error has room for the first mistake.
    if (ReasonOf(reload.status()) == Reason::kConfigInvalid && !session.json) {
      const auto status = (*client)->GetStatus();
      if (status.ok()) session.err << ProblemsText("Mistakes:", status->reload_errors, columns);
    }
    return reload.status();
  }
  if (session.json) {
    session.out << ToJsonDocument(ToJson(*reload));
  } else {
    session.out << ReloadText(*reload);
    session.err << ProblemsText("Problems:", reload->problems, columns);
  }
  // Somebody has to look: part of what was written is not in force.
  if (!reload->problems.empty()) session.exit_code = ExitCode::kFailed;
  return absl::OkStatus();
}

}  // namespace

void AddReload(CLI::App& app, Session& session) {
  CLI::App* reload = app.add_subcommand("reload", "Have smartkeyd read its configuration again");
  reload->footer(
      "Over the admin socket. Apps and servers are put in force at once; a mistake in the main "
      "file leaves everything as it was. Ends with 1 if a file is not in use because of a "
      "mistake.");
  reload->callback([&session] { session.run = [&session] { return RunReload(session); }; });
}

}  // namespace smartkey::ctl
