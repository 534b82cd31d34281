// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/duration.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

absl::StatusOr<std::vector<client::Registration>> Fetch(const Session& session, bool all) {
  auto client = session.ConnectAs(all);
  if (!client.ok()) return client.status();
  return (*client)->ListRegistrations();
}

std::string Note(const client::Registration& registration) {
  std::vector<std::string> notes;
  if (registration.relation == client::Relation::kShared) {
    notes.push_back(absl::StrCat("shared by ", OwnerText(registration.owner)));
  } else if (!registration.label.empty()) {
    notes.push_back(registration.label);
  }
  // By their names alone, since the column is narrow: `show` says what they mean.
  notes.insert(notes.end(), registration.warnings.begin(), registration.warnings.end());
  return absl::StrJoin(notes, "; ");
}

void PrintJson(const Session& session, const std::vector<client::Registration>& registrations) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& registration : registrations) list.push_back(ToJson(registration));
  session.out << ToJsonDocument({{"registrations", std::move(list)}});
}

// Keeps those whose access will probably end within `within`, or should have ended already.
void KeepEnding(absl::Duration within, std::vector<client::Registration>& registrations) {
  const absl::Time last = absl::Now() + within;
  std::erase_if(registrations, [last](const client::Registration& one) {
    return !one.expected_end.has_value() || one.expected_end->time > last;
  });
}

// What there is to be listed is a reason to act.
void ShowEnding(const Session& session, const std::string& within,
                const std::vector<client::Registration>& ending) {
  if (ending.empty()) {
    session.err << "No access is known to end within " << within << ".\n";
    return;
  }
  Table table({"NAME", "STATE", "SERVER", "EXPECTED END"});
  for (const auto& one : ending) {
    table.AddRow({NameToType(one), StateText(one), one.server, ExpectedEndText(one)});
  }
  session.out << table.ToText();
  session.err << "Before it ends: 'smartkeyctl renew NAME'\n";
}

absl::Status RunListEnding(Session& session, bool all, const std::string& ending) {
  const auto within = ParseDuration(ending);
  if (!within.ok()) return Annotate(within.status(), "--ending");
  auto registrations = Fetch(session, all);
  if (!registrations.ok()) return registrations.status();
  KeepEnding(*within, *registrations);
  if (!registrations->empty()) session.exit_code = ExitCode::kPersonMustAct;
  if (session.json) {
    PrintJson(session, *registrations);
  } else {
    ShowEnding(session, ending, *registrations);
  }
  return absl::OkStatus();
}

absl::Status RunList(const Session& session, bool all) {
  auto registrations = Fetch(session, all);
  if (!registrations.ok()) return registrations.status();
  if (session.json) {
    PrintJson(session, *registrations);
    return absl::OkStatus();
  }
  if (registrations->empty()) {
    session.err << "There are no registrations. Make one with 'smartkeyctl enroll SERVER'.\n";
    return absl::OkStatus();
  }
  Table table({"NAME", "STATE", "SERVER", "APP", "NOTE"});
  for (const auto& registration : *registrations) {
    table.AddRow({NameToType(registration), StateText(registration), registration.server,
                  registration.app, Note(registration)});
  }
  session.out << table.ToText();
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& app, Session& session) {
  struct Arguments {
    bool all = false;
    std::string ending;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("list", "List the registrations you may use");
  command->add_flag("--all", arguments->all, "Those of all owners, over the admin socket");
  command
      ->add_option(
          "--ending", arguments->ending,
          "Only those whose access will probably end so soon: 14d; exits 4 if there are any")
      ->type_name("DURATION");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] {
      return arguments->ending.empty() ? RunList(session, arguments->all)
                                       : RunListEnding(session, arguments->all, arguments->ending);
    };
  });
}

}  // namespace smartkey::ctl
