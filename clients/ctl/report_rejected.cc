// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/token_input.h"

namespace smartkey::ctl {
namespace {

absl::Status RunReportRejected(const Session& session, const std::string& name) {
  auto token = ReadToken("-");
  if (!token.ok()) return token.status();
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  const auto rejection = (*client)->ReportRejectedToken(name, *token);
  if (!rejection.ok()) return rejection.status();
  if (session.json) {
    session.out << ToJsonDocument(
        {{"dropped", rejection->dropped}, {"refreshing", rejection->refreshing}});
  } else if (!rejection->dropped) {
    session.out << "Nothing was dropped: that token is not the one that is handed out now.\n";
  } else {
    session.out << (rejection->refreshing ? "Dropped; a new one is being fetched.\n"
                                          : "Dropped; no new one can be fetched just now.\n");
  }
  return absl::OkStatus();
}

}  // namespace

void AddReportRejected(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "report-rejected",
      "Say that the FHIR server refused a token, which is read from standard input");
  command->add_option("REG", *name, "Name or id of the registration")->required();
  command->callback([&session, name] {
    session.run = [&session, name] { return RunReportRejected(session, *name); };
  });
}

}  // namespace smartkey::ctl
