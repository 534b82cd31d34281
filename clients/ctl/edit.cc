// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "base/duration.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"

namespace smartkey::ctl {
namespace {

struct EditArguments {
  std::string registration;
  std::string name, label, access_for;
  CLI::Option* name_option = nullptr;
  CLI::Option* label_option = nullptr;
  CLI::Option* access_for_option = nullptr;
};

absl::StatusOr<client::RegistrationChange> ChangeFrom(const EditArguments& arguments) {
  client::RegistrationChange change;
  if (arguments.name_option->count() > 0) change.name = arguments.name;
  if (arguments.label_option->count() > 0) change.label = arguments.label;
  if (arguments.access_for_option->count() > 0) {
    auto access_for = ParseDuration(arguments.access_for);
    if (!access_for.ok()) return Annotate(access_for.status(), "--access-for");
    change.access_for = *access_for;
  }
  return change;
}

absl::Status RunEdit(const Session& session, const EditArguments& arguments) {
  const auto change = ChangeFrom(arguments);
  if (!change.ok()) return change.status();
  auto client = session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  const auto registration = (*client)->UpdateRegistration(arguments.registration, *change);
  if (!registration.ok()) return registration.status();
  session.out << (session.json ? ToJsonDocument({{"registration", ToJson(*registration)}})
                               : RegistrationText(*registration));
  return absl::OkStatus();
}

}  // namespace

void AddEdit(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<EditArguments>();
  CLI::App* command =
      app.add_subcommand("edit", "Change a registration's name, label or expected end");
  command->add_option("REG", arguments->registration, "Its name or id")->required();
  CLI::Option_group* what = command->add_option_group("What");
  arguments->name_option =
      what->add_option("--name", arguments->name, "Another name")->type_name("N");
  arguments->label_option =
      what->add_option("--label", arguments->label, "Another text for you; '' for none")
          ->type_name("L");
  arguments->access_for_option =
      what->add_option("--access-for", arguments->access_for,
                       "The access ends so long from now: 90d, 1y; 0s: not known")
          ->type_name("DURATION");
  what->require_option(1, 0);  // 0: any number of them
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunEdit(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
