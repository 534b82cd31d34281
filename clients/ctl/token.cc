// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/duration.h"
#include "base/error.h"
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct TokenArguments {
  client::TokenWish wish;
  std::string min_valid;
  bool header = false;
};

// What is different from what was asked for goes beside the token, not into it.
void ShowNotices(const client::AccessToken& token, std::ostream& err) {
  if (token.source == client::TokenSource::kStaleValid) {
    err << "Note: this token is still valid, but could not be renewed";
    if (token.refresh_error.has_value()) {
      err << " (" << ReasonName(token.refresh_error->reason)
          << "): " << TerminalText(token.refresh_error->remedy);
    }
    err << "\n";
  }
  if (token.scope_narrowed) {
    err << "Note: the server granted less than was asked for: " << TerminalText(token.scope, 1024)
        << "\n";
  }
  if (token.min_valid_unmet && token.expires_at.has_value()) {
    err << "Note: the server's tokens do not live that long; this one ends at "
        << TimeText(*token.expires_at) << "\n";
  }
}

absl::Status RunToken(const Session& session, const TokenArguments& arguments) {
  client::TokenWish wish = arguments.wish;
  if (!arguments.min_valid.empty()) {
    auto min_valid = ParseDuration(arguments.min_valid);
    if (!min_valid.ok()) return Annotate(min_valid.status(), "--min-valid");
    wish.min_valid = *min_valid;
  }
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto token = (*client)->GetAccessToken(wish);
  if (!token.ok()) return token.status();
  ShowNotices(*token, session.err);
  if (session.json) {
    session.out << ToJsonDocument(RevealToJson(*token));
    return absl::OkStatus();
  }
  if (!arguments.header) return WriteSecret(token->token.RevealSecret());
  const Secret header(
      absl::StrCat("Authorization: ", token->type, " ", token->token.RevealSecret()));
  return WriteSecret(header.RevealSecret());
}

}  // namespace

void AddToken(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<TokenArguments>();
  CLI::App* command = app.add_subcommand("token", "Print an access token that is valid now");
  command->add_option("REG", arguments->wish.registration, "Name or id of the registration")
      ->required();
  command->add_option("--scope", arguments->wish.scopes, "Only this scope; repeatable")
      ->type_name("S")
      ->allow_extra_args(false);
  command
      ->add_option("--min-valid", arguments->min_valid, "Valid for at least so long: 90s, 5m, 1h")
      ->type_name("DURATION");
  command->add_flag("--header", arguments->header, "As a header line, for curl -H @-");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunToken(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
