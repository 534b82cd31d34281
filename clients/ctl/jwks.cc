// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

absl::Status RunJwks(const Session& session, const std::string& name) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto jwks = (*client)->GetJwks(name);
  if (!jwks.ok()) return jwks.status();
  auto parsed = ParseJson(jwks->jwks);
  if (!parsed.ok()) return MakeError(Reason::kInternal, "smartkeyd sent a key set that is no JSON");
  if (!session.json) {
    session.out << parsed->dump(2, ' ', true) << "\n";
    return absl::OkStatus();
  }
  nlohmann::json out = {{"jwks", *std::move(parsed)}};
  auto app_jwt = ParseJson(jwks->app_jwt_jwks);
  if (app_jwt.ok()) out["app_jwt_jwks"] = *std::move(app_jwt);
  session.out << ToJsonDocument(std::move(out));
  return absl::OkStatus();
}

}  // namespace

void AddJwks(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("jwks", "Print the public keys as a JWK set");
  command->add_option("REG", *name, "Name or id of the registration")->required();
  command->callback(
      [&session, name] { session.run = [&session, name] { return RunJwks(session, *name); }; });
}

}  // namespace smartkey::ctl
