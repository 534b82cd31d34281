// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_join.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

absl::Status RunApps(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto apps = (*client)->ListApps();
  if (!apps.ok()) return apps.status();
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& one : *apps) list.push_back(ToJson(one));
    session.out << ToJsonDocument({{"apps", std::move(list)}});
    return absl::OkStatus();
  }
  if (apps->empty()) {
    session.err << "No app is configured. Its package or an administrator adds an [[app]] block.\n";
    return absl::OkStatus();
  }
  Table table({"ID", "NAME", "REDIRECT URIS", "SCOPES"});
  for (const auto& one : *apps) {
    table.AddRow(
        {one.id, one.name, absl::StrJoin(one.redirect_uris, " "), absl::StrJoin(one.scopes, " ")});
  }
  session.out << table.ToText();
  return absl::OkStatus();
}

}  // namespace

void AddApps(CLI::App& app, Session& session) {
  app.add_subcommand("apps", "List the apps that are configured")->callback([&session] {
    session.run = [&session] { return RunApps(session); };
  });
}

}  // namespace smartkey::ctl
