// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

absl::Status RunLogLevel(const Session& session, const std::string& level) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  const auto previous = (*client)->SetLogLevel(level);
  if (!previous.ok()) return previous.status();
  if (session.json) {
    session.out << ToJsonDocument({{"level", level}, {"previous", *previous}});
  } else {
    session.out << "The log level is " << level << " until the next start; it was " << *previous
                << ".\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddLogLevel(CLI::App& app, Session& session) {
  auto level = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "log-level", "Set how much goes to the journal, until the next start; over the admin socket");
  command->add_option("LEVEL", *level, "error, warning, info or debug")->required();
  command->callback([&session, level] {
    session.run = [&session, level] { return RunLogLevel(session, *level); };
  });
}

}  // namespace smartkey::ctl
