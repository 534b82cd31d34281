// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

// Says this program's version also where there is no daemon; the failure is reported after it.
absl::Status RunVersion(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto info = (*client)->GetServerInfo();
  if (session.json) {
    if (!info.ok()) return info.status();
    nlohmann::json store = {{"available", info->store_available}};
    if (info->store_cause.has_value()) store["cause"] = ToJson(*info->store_cause);
    if (!info->store_problem.empty()) store["problem"] = info->store_problem;
    session.out << ToJsonDocument({{"client_version", SMARTKEY_VERSION},
                                   {"daemon_version", info->version},
                                   {"features", info->features},
                                   {"hardware", ToJson(info->hardware)},
                                   {"store", std::move(store)}});
    return absl::OkStatus();
  }
  session.out << VersionLine() << "\n";
  if (!info.ok()) return info.status();
  session.out << "smartkeyd " << TerminalText(info->version) << "\n";
  if (info->store_cause.has_value()) {
    session.err << "Its database is not available: " << TerminalText(info->store_problem) << "\n  "
                << TerminalText(info->store_cause->remedy) << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

std::string VersionLine() {
  return absl::StrCat("smartkeyctl ", SMARTKEY_VERSION);
}

void AddVersion(CLI::App& app, Session& session) {
  app.add_subcommand("version", "Show the versions of smartkeyctl and smartkeyd")
      ->callback([&session] { session.run = [&session] { return RunVersion(session); }; });
}

}  // namespace smartkey::ctl
