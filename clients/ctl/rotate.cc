// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

absl::Status RunRotate(const Session& session, const std::string& name,
                       const std::string& algorithm) {
  auto client = session.ConnectFor(name);
  if (!client.ok()) return client.status();
  const auto registration = (*client)->RotateKey(name, algorithm);
  if (ReasonOf(registration.status()) == Reason::kRotationNeedsBrowser) {
    return WithRemedy(registration.status(),
                      absl::StrCat("log in again, which makes a new key and keeps name and shares: "
                                   "'smartkeyctl renew ",
                                   TerminalText(name, 80), "'"));
  }
  if (!registration.ok()) return registration.status();
  if (session.json) {
    session.out << ToJsonDocument({{"registration", ToJson(*registration)}});
  } else {
    session.out << EnrolledText(*registration);
  }
  return absl::OkStatus();
}

}  // namespace

void AddRotate(CLI::App& app, Session& session) {
  struct Arguments {
    std::string name;
    std::string algorithm;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("rotate", "Replace a key without a login, where the server can do that");
  command->add_option("REG", arguments->name, "Name or id of the registration")->required();
  command->add_option("--algorithm", arguments->algorithm, "ES256, ES384, RS256 or RS384")
      ->type_name("A");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] {
      return RunRotate(session, arguments->name, arguments->algorithm);
    };
  });
}

}  // namespace smartkey::ctl
