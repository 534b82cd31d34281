// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

// Says this program's version also where there is no daemon; the failure is reported after it.
absl::Status RunVersion(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto info = (*client)->GetServerInfo();
  if (session.json) {
    if (!info.ok()) return info.status();
    session.out << ToJsonDocument({{"client_version", SMARTKEY_VERSION},
                                   {"daemon_version", info->version},
                                   {"features", info->features},
                                   {"hardware", ToJson(info->hardware)}});
    return absl::OkStatus();
  }
  session.out << "smartkeyctl " << SMARTKEY_VERSION << "\n";
  if (!info.ok()) return info.status();
  session.out << "smartkeyd " << Printable(info->version) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddVersion(CLI::App& app, Session& session) {
  app.add_subcommand("version", "Show the versions of smartkeyctl and smartkeyd")
      ->callback([&session] { session.run = [&session] { return RunVersion(session); }; });
}

}  // namespace smartkey::ctl
