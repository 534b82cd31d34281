// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/suspension_arguments.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

absl::Status RunResume(const Session& session, const SuspensionArguments& which) {
  auto client = which.Connect(session);
  if (!client.ok()) return client.status();
  const auto resumed = (*client)->ResumeRegistrations(which.target());
  if (!resumed.ok()) return resumed.status();
  if (session.json) {
    session.out << ToJsonDocument({{"resumed", resumed->registration_ids},
                                   {"still_suspended", resumed->still_suspended_ids}});
    return absl::OkStatus();
  }
  for (const std::string& id : resumed->registration_ids) {
    session.out << "Resumed " << TerminalText(id) << "\n";
  }
  for (const std::string& id : resumed->still_suspended_ids) {
    session.err << "Still suspended, by an administrator: " << TerminalText(id) << "\n";
  }
  if (resumed->registration_ids.empty() && resumed->still_suspended_ids.empty()) {
    session.err << "Nothing has changed: not suspended (" << which.Words() << ").\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddResume(CLI::App& app, Session& session) {
  auto which = std::make_shared<SuspensionArguments>();
  CLI::App* command = app.add_subcommand("resume", "Switch suspended registrations on again");
  which->AddTo(*command);
  command->callback([&session, which] {
    session.run = [&session, which] { return RunResume(session, *which); };
  });
}

}  // namespace smartkey::ctl
