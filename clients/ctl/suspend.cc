// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <vector>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/suspension_arguments.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct SuspendArguments {
  SuspensionArguments which;
  std::string why;
};

absl::Status RunSuspend(const Session& session, const SuspendArguments& arguments) {
  auto client = arguments.which.Connect(session);
  if (!client.ok()) return client.status();
  const auto ids = (*client)->SuspendRegistrations(arguments.which.target(), arguments.why);
  if (!ids.ok()) return ids.status();
  if (session.json) {
    session.out << ToJsonDocument({{"suspended", *ids}});
    return absl::OkStatus();
  }
  for (const std::string& id : *ids) session.out << "Suspended " << TerminalText(id) << "\n";
  if (ids->empty()) {
    session.err << "Nothing has changed: suspended already (" << arguments.which.Words() << ").\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddSuspend(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<SuspendArguments>();
  CLI::App* command = app.add_subcommand(
      "suspend", "Switch registrations off: no tokens, at once, until they are resumed");
  arguments->which.AddTo(*command);
  command->add_option("--why", arguments->why, "A text for those who will see it")
      ->type_name("TEXT");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunSuspend(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
