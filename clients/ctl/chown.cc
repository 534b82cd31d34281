// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"

namespace smartkey::ctl {
namespace {

struct ChownArguments {
  std::string registration, owner;
};

absl::Status RunChown(const Session& session, const ChownArguments& arguments) {
  const auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  client::RegistrationChange change;
  change.owner = arguments.owner;
  const auto changed = (*client)->UpdateRegistration(arguments.registration, change);
  if (!changed.ok()) return changed.status();
  session.out << (session.json ? ToJsonDocument({{"registration", ToJson(*changed)}})
                               : RegistrationText(*changed));
  return absl::OkStatus();
}

}  // namespace

void AddChown(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<ChownArguments>();
  CLI::App* command =
      app.add_subcommand("chown", "As root: give a registration to another user, or a renamed one");
  command->add_option("REG", arguments->registration, "OWNER/NAME, or the id")->required();
  command->add_option("USER", arguments->owner, "The new owner's login")->required();
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunChown(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
