// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "clients/ctl/commands.h"
#include "clients/ctl/share_arguments.h"

namespace smartkey::ctl {
namespace {

struct ApproveArguments {
  std::string request;
  TermsArguments terms;
  bool admin = false;
};

absl::Status RunApprove(const Session& session, const ApproveArguments& arguments) {
  const auto terms = arguments.terms.Parse();
  if (!terms.ok()) return terms.status();
  auto client = session.ConnectAs(arguments.admin);
  if (!client.ok()) return client.status();
  const auto share = (*client)->ApproveAccessRequest(arguments.request, *terms);
  if (!share.ok()) return share.status();
  WriteShare(session, *share);
  return absl::OkStatus();
}

}  // namespace

void AddApprove(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<ApproveArguments>();
  CLI::App* command = app.add_subcommand("approve", "Share a registration with who asks for it");
  command->add_option("ID", arguments->request, "The request, as 'requests' lists it")->required();
  AddTermsOptions(*command, arguments->terms, "as asked");
  command->add_flag("--admin", arguments->admin, "Of anybody, over the admin socket");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunApprove(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
