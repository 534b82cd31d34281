// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/access_for.h"
#include "clients/ctl/browser_arguments.h"
#include "clients/ctl/browser_enrollment.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"

namespace smartkey::ctl {
namespace {

absl::Status RunRenew(const Session& session, const std::string& name,
                      const std::string& access_for, const BrowserArguments& browser) {
  const auto options = browser.ToOptions();
  if (!options.ok()) return options.status();
  const auto said = ParseAccessFor(access_for);
  if (!said.ok()) return said.status();
  Interrupt interrupt;  // Before connecting, which starts gRPC's threads.
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto renewed = (*client)->GetRegistration(name);
  if (!renewed.ok()) return renewed.status();
  client::EnrollmentWish wish;
  wish.app = renewed->app;
  wish.server = renewed->server;
  wish.renews = renewed->id;
  wish.access_for = *said;
  const auto registration = EnrollInBrowser(**client, wish, *options, interrupt, session.err);
  if (!registration.ok()) return registration.status();
  if (session.json) {
    session.out << ToJsonDocument({{"registration", ToJson(*registration)}});
  } else {
    session.out << EnrolledText(*registration);
  }
  return absl::OkStatus();
}

}  // namespace

void AddRenew(CLI::App& app, Session& session) {
  struct Arguments {
    std::string name;
    std::string access_for;
    BrowserArguments browser;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "renew", "Log in again for a registration: same name, new key; the old one serves meanwhile");
  command->add_option("REG", arguments->name, "Name or id of the registration")->required();
  AddAccessFor(*command, arguments->access_for);
  arguments->browser.AddTo(*command);
  command->callback([&session, arguments] {
    session.run = [&session, arguments] {
      return RunRenew(session, arguments->name, arguments->access_for, arguments->browser);
    };
  });
}

}  // namespace smartkey::ctl
