// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/access_for.h"
#include "clients/ctl/browser_arguments.h"
#include "clients/ctl/browser_enrollment.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/terminal_text.h"
#include "clients/ctl/token_input.h"

namespace smartkey::ctl {
namespace {

struct EnrollArguments {
  std::string server;
  client::EnrollmentWish wish;
  std::string context = "fixed";
  std::string access_for;
  BrowserArguments browser;
  bool yes = false;
  std::string token_file;
};

absl::StatusOr<client::Registration> EnrollWithToken(const Session& session,
                                                     const EnrollArguments& arguments) {
  auto token = ReadToken(arguments.token_file);
  if (!token.ok()) return token.status();
  auto client = session.ConnectAs(!arguments.wish.owner.empty());
  if (!client.ok()) return client.status();
  return (*client)->EnrollWithInitialToken(arguments.wish, *token);
}

absl::StatusOr<client::Registration> EnrollWithBrowser(const Session& session,
                                                       const EnrollArguments& arguments) {
  auto options = arguments.browser.ToOptions();
  if (!options.ok()) return options.status();
  Interrupt interrupt;  // Before connecting, which starts gRPC's threads.
  auto client = session.ConnectAs(!arguments.wish.owner.empty());
  if (!client.ok()) return client.status();
  options->ask = !arguments.yes;
  return EnrollInBrowser(**client, arguments.wish, *options, interrupt, session.err);
}

// With sudo people mean to have more power, and would have a registration that is root's.
absl::Status CheckNotSudo() {
  const char* user = getuid() == 0 ? getenv("SUDO_USER") : nullptr;
  if (user == nullptr || absl::string_view(user) == "root") return absl::OkStatus();
  const std::string name = TerminalText(user, 64);
  return WithRemedy(
      MakeError(Reason::kNotPermitted,
                absl::StrCat("with sudo the registration would be root's and not ", name, "'s")),
      absl::StrCat("run it without sudo; or give it to ", name, " as root: --owner ", name));
}

absl::Status RunEnroll(const Session& session, EnrollArguments& arguments) {
  if (arguments.wish.owner.empty()) {
    if (absl::Status status = CheckNotSudo(); !status.ok()) return status;
  }
  const auto access_for = ParseAccessFor(arguments.access_for);
  if (!access_for.ok()) return access_for.status();
  arguments.wish.access_for = *access_for;
  const auto registration = arguments.token_file.empty() ? EnrollWithBrowser(session, arguments)
                                                         : EnrollWithToken(session, arguments);
  if (!registration.ok()) return registration.status();
  if (session.json) {
    session.out << ToJsonDocument({{"registration", ToJson(*registration)}});
  } else {
    session.out << EnrolledText(*registration);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEnroll(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<EnrollArguments>();
  CLI::App* command =
      app.add_subcommand("enroll", "Make a registration: log in with a browser, register a key");
  command->add_option("SERVER", arguments->server, "Name of the server, or its FHIR base")
      ->required();
  command->add_option("--app", arguments->wish.app, "Id of the app, if several are configured")
      ->type_name("ID");
  command->add_option("--name", arguments->wish.name, "Name of the registration")->type_name("N");
  command->add_option("--label", arguments->wish.label, "A text for you")->type_name("L");
  command->add_option("--scope", arguments->wish.scopes, "Scope to ask for; repeatable")
      ->type_name("S")
      ->allow_extra_args(false);
  command->add_option("--algorithm", arguments->wish.algorithm, "ES256, ES384, RS256 or RS384")
      ->type_name("A");
  command
      ->add_option("--context", arguments->context,
                   "'varies': tokens may name another patient each time")
      ->check(CLI::IsMember({"fixed", "varies"}));
  AddAccessFor(*command, arguments->access_for);
  command->add_option("--owner", arguments->wish.owner, "As root: for this user")
      ->type_name("USER");
  arguments->browser.AddTo(*command);
  command->add_flag("--yes", arguments->yes,
                    "Do not ask about a registration of this app at this server that you have");
  command
      ->add_option("--with-token-file", arguments->token_file,
                   "Step 2 only, with an initial access token from a file or '-'")
      ->type_name("F")
      ->excludes(arguments->browser.no_browser_option());
  command->callback([&session, arguments] {
    const bool is_url = absl::StrContains(arguments->server, "://");
    (is_url ? arguments->wish.fhir_base : arguments->wish.server) = arguments->server;
    arguments->wish.context_varies = arguments->context == "varies";
    session.run = [&session, arguments] { return RunEnroll(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
