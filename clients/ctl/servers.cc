// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_join.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

absl::Status RunServers(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto servers = (*client)->ListServers();
  if (!servers.ok()) return servers.status();
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& server : *servers) list.push_back(ToJson(server));
    session.out << ToJsonDocument({{"servers", std::move(list)}});
    return absl::OkStatus();
  }
  if (servers->empty()) {
    session.err << "No server is configured. An administrator adds one as a [[server]] block.\n";
    return absl::OkStatus();
  }
  Table table({"NAME", "FHIR BASE", "PROFILE", "APPS", "STATE"});
  for (const auto& server : *servers) {
    table.AddRow({server.name, server.fhir_base, server.profile, absl::StrJoin(server.apps, " "),
                  server.refusing_all ? "REFUSING_ALL" : ""});
  }
  session.out << table.ToText();
  return absl::OkStatus();
}

}  // namespace

void AddServers(CLI::App& app, Session& session) {
  app.add_subcommand("servers", "List the servers that are configured")->callback([&session] {
    session.run = [&session] { return RunServers(session); };
  });
}

}  // namespace smartkey::ctl
