// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/share_arguments.h"

namespace smartkey::ctl {
namespace {

struct ShareArguments {
  std::string registration, principal;
  TermsArguments terms;
  bool make_private = false, open = false;
};

absl::Status RunPrivate(const Session& session, const ShareArguments& arguments) {
  auto client = session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  client::RegistrationChange change;
  change.shares_only = arguments.make_private;
  const auto changed = (*client)->UpdateRegistration(arguments.registration, change);
  if (!changed.ok()) return changed.status();
  session.out << (session.json ? ToJsonDocument({{"registration", ToJson(*changed)}})
                               : RegistrationText(*changed));
  return absl::OkStatus();
}

absl::Status RunShare(const Session& session, const ShareArguments& arguments) {
  if (arguments.make_private || arguments.open) {
    if (arguments.principal.empty()) return RunPrivate(session, arguments);
    return MakeError(Reason::kInvalidArgument, "--private and --open are for no principal");
  }
  if (arguments.principal.empty()) {
    return MakeError(Reason::kInvalidArgument,
                     "say with whom: user:NAME, uid:N, group:NAME or unit:NAME.service");
  }
  const auto terms = arguments.terms.Parse();
  if (!terms.ok()) return terms.status();
  auto client = session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  const auto share =
      (*client)->ShareRegistration(arguments.registration, arguments.principal, *terms);
  if (!share.ok()) return share.status();
  WriteShare(session, *share);
  return absl::OkStatus();
}

}  // namespace

void AddShare(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<ShareArguments>();
  CLI::App* command =
      app.add_subcommand("share", "Let another user, group or system unit use a registration");
  command->add_option("REG", arguments->registration, "Its name or id")->required();
  command->add_option("PRINCIPAL", arguments->principal,
                      "user:NAME, uid:N, group:NAME, unit:NAME.service, or user:NAME+unit:U");
  AddTermsOptions(*command, arguments->terms, "token");
  auto* make_private = command->add_flag("--private", arguments->make_private,
                                         "Even your own programs need a share from now on");
  command->add_flag("--open", arguments->open, "They need none any more")->excludes(make_private);
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunShare(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
