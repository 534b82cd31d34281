// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/share_arguments.h"

#include "absl/strings/str_cat.h"
#include "base/duration.h"
#include "base/error.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {

absl::StatusOr<client::ShareTerms> TermsArguments::Parse() const {
  client::ShareTerms terms;
  terms.operations = operations;
  terms.scopes = scopes;
  if (valid_for.empty()) return terms;
  const auto length = ParseDuration(valid_for);
  if (!length.ok()) return Annotate(length.status(), "--for");
  if (*length <= absl::ZeroDuration()) {
    return MakeError(Reason::kInvalidArgument, "--for: leave it out for a share without end");
  }
  terms.valid_for = *length;
  return terms;
}

void WriteShare(const Session& session, const client::Share& share) {
  if (session.json) {
    session.out << ToJsonDocument({{"share", ToJson(share)}});
  } else {
    session.out << "Shared with " << TerminalText(ShareText(share)) << "\n";
  }
}

void AddWishOptions(CLI::App& command, TermsArguments& arguments, const std::string& by_default) {
  command.add_option("--scope", arguments.scopes, "Only this scope; may be repeated")
      ->type_name("S")
      ->allow_extra_args(false);
  command
      .add_option("--allow", arguments.operations,
                  absl::StrCat("token,dpop,jwt,assertion,manage (else ", by_default, ")"))
      ->delimiter(',')
      ->type_name("OPERATIONS")
      ->allow_extra_args(false);
}

void AddTermsOptions(CLI::App& command, TermsArguments& arguments, const std::string& by_default) {
  AddWishOptions(command, arguments, by_default);
  command.add_option("--for", arguments.valid_for, "Ends so long from now: 90d")
      ->type_name("DURATION");
}

}  // namespace smartkey::ctl
