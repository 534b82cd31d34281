// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

absl::Status RunAssertion(const Session& session, const std::string& name) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto assertion = (*client)->SignClientAssertion(name);
  if (!assertion.ok()) return assertion.status();
  if (!session.json) return WriteSecret(assertion->assertion.RevealSecret());
  session.out << ToJsonDocument(RevealToJson(*assertion));
  return absl::OkStatus();
}

}  // namespace

void AddAssertion(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "assertion", "Print a client assertion, for an app that does step 3 itself");
  command->add_option("REG", *name, "Name or id of the registration")->required();
  command->callback([&session, name] {
    session.run = [&session, name] { return RunAssertion(session, *name); };
  });
}

}  // namespace smartkey::ctl
