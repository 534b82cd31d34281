// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/suspension_arguments.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {

void SuspensionArguments::AddTo(CLI::App& command) {
  CLI::Option_group* which = command.add_option_group("Which");
  which->add_option("REG", target_.registration, "One: its name or id");
  which->add_option("--server", target_.server, "All of yours at this server")->type_name("S");
  which->add_option("--owner", target_.owner, "All of this user, over the admin socket")
      ->type_name("U");
  which->add_flag("--all", target_.all, "All of yours");
  which->require_option(1);
  command.add_flag("--admin", admin_,
                   "Over the admin socket: --server and --all mean those of all owners");
}

absl::StatusOr<std::unique_ptr<client::Client>> SuspensionArguments::Connect(
    const Session& session) const {
  if (!admin_ && target_.owner.empty()) return session.ConnectFor(target_.registration);
  return session.ConnectAs(true);
}

std::string SuspensionArguments::Words() const {
  if (!target_.registration.empty()) return TerminalText(target_.registration);
  if (!target_.server.empty()) return absl::StrCat("all of server ", TerminalText(target_.server));
  if (!target_.owner.empty()) return absl::StrCat("all of ", TerminalText(target_.owner));
  return "all";
}

}  // namespace smartkey::ctl
