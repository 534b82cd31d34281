// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"

namespace smartkey::ctl {
namespace {

absl::Status RunShow(const Session& session, const std::string& name) {
  auto client = session.ConnectFor(name);
  if (!client.ok()) return client.status();
  auto registration = (*client)->GetRegistration(name);
  if (!registration.ok()) return registration.status();
  session.out << (session.json ? ToJsonDocument({{"registration", ToJson(*registration)}})
                               : RegistrationText(*registration));
  return absl::OkStatus();
}

}  // namespace

void AddShow(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("show", "Show one registration");
  command->add_option("REG", *name, "Its name or id")->required();
  command->callback(
      [&session, name] { session.run = [&session, name] { return RunShow(session, *name); }; });
}

}  // namespace smartkey::ctl
