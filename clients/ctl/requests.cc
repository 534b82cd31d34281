// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

std::string RequestText(const client::AccessRequest& request, const std::string& name) {
  Record record;
  record.Add("Request", request.id);
  record.Add("From", request.principal);
  record.Add("For", name);
  std::vector<std::string> operations;
  for (const std::string& one : request.operations) {
    operations.push_back(absl::AsciiStrToLower(one));
  }
  record.Add("Wants", absl::StrJoin(operations, ", "));
  record.Add("Scopes", request.scopes.empty() ? "all" : absl::StrJoin(request.scopes, " "));
  record.Add("Says", request.reason);
  record.Add("Asked", request.created_at);
  record.Add("Lapses", request.expires_at);
  return record.ToText();
}

absl::Status RunRequests(const Session& session, bool all) {
  auto client = session.ConnectAs(all);
  if (!client.ok()) return client.status();
  const auto requests = (*client)->ListAccessRequests();
  if (!requests.ok()) return requests.status();
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const client::AccessRequest& one : *requests) list.push_back(ToJson(one));
    session.out << ToJsonDocument({{"requests", std::move(list)}});
    return absl::OkStatus();
  }
  if (requests->empty()) {
    session.err << "Nobody asks for access.\n";
    return absl::OkStatus();
  }
  const auto registrations = (*client)->ListRegistrations({});
  if (!registrations.ok()) return registrations.status();
  std::map<std::string, std::string> names;
  for (const client::Registration& one : *registrations) names[one.id] = NameToType(one);
  for (const client::AccessRequest& one : *requests) {
    const auto name = names.find(one.registration_id);
    session.out << RequestText(one, name != names.end() ? name->second : one.registration_id)
                << "\n";
  }
  session.err << "Decide with 'smartkeyctl approve ID' or 'smartkeyctl deny ID'.\n";
  return absl::OkStatus();
}

}  // namespace

void AddRequests(CLI::App& app, Session& session) {
  auto all = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("requests", "Show who asks to use your registrations");
  command->add_flag("--all", *all, "Those for all owners, over the admin socket");
  command->callback(
      [&session, all] { session.run = [&session, all] { return RunRequests(session, *all); }; });
}

}  // namespace smartkey::ctl
