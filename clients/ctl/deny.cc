// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

struct DenyArguments {
  std::string request;
  bool always = false, admin = false;
};

absl::Status RunDeny(const Session& session, const DenyArguments& arguments) {
  auto client = session.ConnectAs(arguments.admin);
  if (!client.ok()) return client.status();
  const absl::Status done = (*client)->DenyAccessRequest(arguments.request, arguments.always);
  if (!done.ok()) return done;
  if (session.json) {
    session.out << ToJsonDocument({{"denied", arguments.request}});
  } else if (arguments.always) {
    session.out << "Denied. They cannot ask for this registration again until you share it.\n";
  } else {
    session.out << "Denied. They can ask for this registration again after a day.\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddDeny(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<DenyArguments>();
  CLI::App* command = app.add_subcommand("deny", "Say no to a request for access");
  command->add_option("ID", arguments->request, "The request, as 'requests' lists it")->required();
  command->add_flag("--always", arguments->always, "And to every later one of this user for it");
  command->add_flag("--admin", arguments->admin, "Of anybody, over the admin socket");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunDeny(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
