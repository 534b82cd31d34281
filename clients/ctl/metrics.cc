// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

absl::Status RunMetrics(const Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  const auto text = (*client)->GetMetrics();
  if (!text.ok()) return text.status();
  session.out << (session.json ? ToJsonDocument({{"text", *text}}) : *text);
  return absl::OkStatus();
}

}  // namespace

void AddMetrics(CLI::App& app, Session& session) {
  app.add_subcommand("metrics",
                     "Show counters and timings in the text format of Prometheus, as its textfile "
                     "collector reads it; over the admin socket")
      ->callback([&session] { session.run = [&session] { return RunMetrics(session); }; });
}

}  // namespace smartkey::ctl
