// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct ExplainArguments {
  std::string registration;
  std::vector<std::string> principals;
};

absl::Status RunExplain(const Session& session, const ExplainArguments& arguments) {
  auto client = session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  const auto why = (*client)->ExplainAccess(arguments.registration, arguments.principals);
  if (!why.ok()) return why.status();
  if (session.json) {
    session.out << ToJsonDocument({{"explanation", ToJson(*why)}});
    return absl::OkStatus();
  }
  const auto list = [&](const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
      session.out << "  " << WrapWords(TerminalText(line, 1024), 2, kTerminalColumns) << "\n";
    }
  };
  session.out << "The caller:\n";
  list(why->facts);
  session.out << "The registration:\n";
  list(why->steps);
  return absl::OkStatus();
}

}  // namespace

void AddExplain(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<ExplainArguments>();
  CLI::App* command =
      app.add_subcommand("explain", "Say what you or somebody may do with a registration, and why");
  command->add_option("REG", arguments->registration, "Its name or id")->required();
  command
      ->add_option("--as", arguments->principals,
                   "For another caller, of whom this is true; may be repeated")
      ->type_name("PRINCIPAL")
      ->allow_extra_args(false);
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunExplain(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
