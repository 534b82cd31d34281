// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

void ShowDeletion(const Session& session, const client::Deletion& deletion) {
  session.out << "Deleted " << TerminalText(deletion.registration_id) << "\n";
  if (!deletion.key_destroyed) {
    session.err << "The hardware could not be reached and keeps the key, of no use to anybody; "
                   "'smartkeyctl keys --all' lists it when it is back.\n";
  }
  if (!deletion.server_may_still_list) return;
  // The last line, whatever came before.
  session.err << "The server's portal may still list the app, which cannot get tokens any more";
  if (!deletion.management_url.empty()) {
    session.err << "; remove it there: " << TerminalText(deletion.management_url, 2048);
  }
  session.err << "\n";
}

absl::Status RunDelete(const Session& session, const std::string& name, bool yes) {
  auto client = session.ConnectFor(name);
  if (!client.ok()) return client.status();
  if (!yes) {
    // Nobody is asked about what is not there.
    const absl::Status found = (*client)->GetRegistration(name).status();
    if (!found.ok()) return found;
    const absl::Status confirmed =
        session.Confirm(absl::StrCat("Delete ", TerminalText(name),
                                     "? Its key is destroyed; using it again takes another login."),
                        "nothing was deleted");
    if (!confirmed.ok()) return confirmed;
  }
  auto deletion = (*client)->DeleteRegistration(name);
  if (!deletion.ok()) return deletion.status();
  if (!session.json) {
    ShowDeletion(session, *deletion);
    return absl::OkStatus();
  }
  nlohmann::json out = {{"registration_id", deletion->registration_id},
                        {"key_destroyed", deletion->key_destroyed},
                        {"server_may_still_list", deletion->server_may_still_list},
                        {"tokens_revoked", deletion->tokens_revoked}};
  if (!deletion->management_url.empty()) out["management_url"] = deletion->management_url;
  session.out << ToJsonDocument(std::move(out));
  return absl::OkStatus();
}

}  // namespace

void AddDelete(CLI::App& app, Session& session) {
  struct Arguments {
    std::string name;
    bool yes = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("delete", "Delete a registration and destroy its key");
  command->add_option("REG", arguments->name, "Its name or id")->required();
  command->add_flag("--yes", arguments->yes, "Do not ask");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] {
      return RunDelete(session, arguments->name, arguments->yes);
    };
  });
}

}  // namespace smartkey::ctl
