// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/share_arguments.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct RequestArguments {
  std::string target;
  client::AccessWish wish;
  TermsArguments terms;
  bool no_wait = false;
};

absl::StatusOr<client::AccessWish> WishOf(const RequestArguments& arguments) {
  client::AccessWish wish = arguments.wish;
  wish.operations = arguments.terms.operations;
  wish.scopes = arguments.terms.scopes;
  if (arguments.target.empty()) {
    if (wish.owner.empty() || wish.app.empty() || wish.fhir_base.empty()) {
      return MakeError(Reason::kInvalidArgument,
                       "say which registration: OWNER/NAME, or --owner, --app and --fhir-base");
    }
    return wish;
  }
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(arguments.target, absl::MaxSplits('/', 1));
  if (parts.first.empty() || parts.second.empty()) {
    return MakeError(Reason::kInvalidArgument,
                     "a registration is named with its owner: alice/NAME");
  }
  wish.owner = parts.first;
  wish.registration = parts.second;
  return wish;
}

// Until it is decided; what the owner says is the result.
absl::Status RunRequest(const Session& session, const RequestArguments& arguments) {
  const auto wish = WishOf(arguments);
  if (!wish.ok()) return wish.status();
  const auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto watch = (*client)->RequestAccess(*wish);
  if (!watch.ok()) return watch.status();
  const std::string owner = TerminalText(wish->owner);
  for (;;) {
    const auto answer = (*watch)->Next();
    if (!answer.ok()) return answer.status();
    if (!answer->has_value()) return absl::OkStatus();
    if (session.json) session.out << ToJsonLine({{"answer", ToJson(**answer)}}) << std::flush;
    switch ((*answer)->state) {
      case client::AccessRequestState::kPending:
        session.err << "Asked " << owner << ": request " << TerminalText((*answer)->request_id)
                    << ",\nwhich is seen there with 'smartkeyctl requests'.\n";
        if (arguments.no_wait) return absl::OkStatus();
        session.err << "Waiting for the answer; the request stays open without that (Ctrl-C).\n";
        break;
      case client::AccessRequestState::kApproved:
        session.err << owner << " has said yes.\n";
        if (!session.json) session.out << (*answer)->registration_id << "\n";
        break;
      case client::AccessRequestState::kDenied:
        return WithRemedy(MakeError(Reason::kNotPermitted, absl::StrCat(owner, " has said no")),
                          "talk to the owner; another request is not shown for a day at least");
      case client::AccessRequestState::kLapsed:
        return WithRemedy(
            MakeError(Reason::kNotPermitted, absl::StrCat(owner, " has not answered in 7 days")),
            "check the owner and the name, talk to the owner, and ask again");
      case client::AccessRequestState::kUnspecified:
        break;
    }
  }
}

}  // namespace

void AddRequest(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<RequestArguments>();
  CLI::App* command =
      app.add_subcommand("request", "Ask another user for a share, and wait for the answer");
  CLI::Option* target =
      command->add_option("OWNER/NAME", arguments->target, "Whose, and its name or id");
  command->add_option("--owner", arguments->wish.owner, "Whose, with the next two")
      ->type_name("USER")
      ->excludes(target);
  command->add_option("--app", arguments->wish.app, "The one for this app")
      ->type_name("ID")
      ->excludes(target);
  command->add_option("--fhir-base", arguments->wish.fhir_base, "and at this FHIR server")
      ->type_name("URL")
      ->excludes(target);
  AddWishOptions(*command, arguments->terms, "token");
  command->add_option("--reason", arguments->wish.reason, "For the owner: at most 80 characters")
      ->type_name("TEXT");
  command->add_flag("--no-wait", arguments->no_wait, "Only ask");
  command->callback([&session, arguments] {
    session.json_lines = true;
    session.run = [&session, arguments] { return RunRequest(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
