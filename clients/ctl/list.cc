// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

absl::StatusOr<std::vector<client::Registration>> Fetch(const Session& session, bool all) {
  if (all) {
    auto client = session.ConnectAdmin();
    if (!client.ok()) return client.status();
    return (*client)->ListRegistrations();
  }
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  return (*client)->ListRegistrations();
}

std::string Note(const client::Registration& registration) {
  if (registration.relation != client::Relation::kShared) return registration.label;
  return absl::StrCat("shared by ", OwnerText(registration.owner));
}

absl::Status RunList(const Session& session, bool all) {
  auto registrations = Fetch(session, all);
  if (!registrations.ok()) return registrations.status();
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& registration : *registrations) list.push_back(ToJson(registration));
    session.out << ToJsonDocument({{"registrations", std::move(list)}});
    return absl::OkStatus();
  }
  if (registrations->empty()) {
    session.err << "There are no registrations. Make one with 'smartkeyctl enroll SERVER'.\n";
    return absl::OkStatus();
  }
  Table table({"NAME", "STATE", "SERVER", "APP", "NOTE"});
  for (const auto& registration : *registrations) {
    table.AddRow({NameToType(registration), StateText(registration), registration.server,
                  registration.app, Note(registration)});
  }
  session.out << table.ToText();
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& app, Session& session) {
  auto all = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("list", "List the registrations you may use");
  command->add_flag("--all", *all, "Those of all owners, over the admin socket");
  command->callback(
      [&session, all] { session.run = [&session, all] { return RunList(session, *all); }; });
}

}  // namespace smartkey::ctl
