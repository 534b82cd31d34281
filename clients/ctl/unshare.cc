// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct UnshareArguments {
  std::string registration, principal;
};

absl::Status RunUnshare(const Session& session, const UnshareArguments& arguments) {
  auto client = session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  const absl::Status done =
      (*client)->UnshareRegistration(arguments.registration, arguments.principal);
  if (!done.ok()) return done;
  if (session.json) {
    session.out << ToJsonDocument({{"unshared", arguments.principal}});
  } else {
    session.out << "No longer shared with " << TerminalText(arguments.principal) << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddUnshare(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<UnshareArguments>();
  CLI::App* command = app.add_subcommand("unshare", "Take a share back, at once");
  command->add_option("REG", arguments->registration, "Its name or id")->required();
  command->add_option("PRINCIPAL", arguments->principal, "As 'show' lists it: user:bob")
      ->required();
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunUnshare(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
