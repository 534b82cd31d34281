// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

using Names = std::map<std::string, std::string>;  // by id, for what is told when it is gone

std::string EndingText(const client::RegistrationEvent& event) {
  std::string text =
      absl::StrCat("ends within ", event.ending_days, event.ending_days == 1 ? " day" : " days");
  if (event.registration->expected_end.has_value()) {
    absl::StrAppend(&text, " (", TimeText(event.registration->expected_end->time), ")");
  }
  return absl::StrCat(text, "; 'smartkeyctl renew ", NameToType(*event.registration),
                      "' gives it more time");
}

// One line for people; empty for what only programs want to know.
std::string EventText(const client::RegistrationEvent& event, Names& names) {
  if (!event.registration.has_value()) return "";
  const std::string& id = event.registration->id;
  std::string words;
  switch (event.event) {
    case client::WatchEvent::kCurrent:
      names[id] = NameToType(*event.registration);
      words = StateText(*event.registration);
      break;
    case client::WatchEvent::kRemoved:
      words = "gone";
      break;
    case client::WatchEvent::kEnding:
      words = EndingText(event);
      break;
    default:
      return "";
  }
  const auto name = names.find(id);
  const std::string line = absl::StrCat(TimeText(absl::Now()), "  ",
                                        TerminalText(name != names.end() ? name->second : id), "  ",
                                        TerminalText(words, 400), "\n");
  if (event.event == client::WatchEvent::kRemoved) names.erase(id);
  return line;
}

std::string EventJson(const client::RegistrationEvent& event) {
  nlohmann::json json = {{"event", std::string(Name(event.event))}};
  if (event.ending_days > 0) json["ending_days"] = event.ending_days;
  if (event.registration.has_value()) {
    json["registration_id"] = event.registration->id;
    if (event.event != client::WatchEvent::kRemoved) {
      json["registration"] = ToJson(*event.registration);
    }
  }
  return ToJsonLine(std::move(json));
}

// Until the registration that was named is gone, the daemon stops, or nobody reads the output.
absl::Status RunWatch(const Session& session, const std::string& name, bool all) {
  auto client = all ? session.ConnectAs(true) : session.ConnectFor(name);
  if (!client.ok()) return client.status();
  auto watch = (*client)->WatchRegistrations({}, name);
  if (!watch.ok()) return watch.status();
  Names names;
  for (;;) {
    auto event = (*watch)->Next();
    if (!event.ok()) return event.status();
    if (!event->has_value()) return absl::OkStatus();
    session.out << (session.json ? EventJson(**event) : EventText(**event, names)) << std::flush;
    if (!session.out) return OutputFailure();
  }
}

}  // namespace

void AddWatch(CLI::App& app, Session& session) {
  struct Arguments {
    std::string name;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("watch", "Show how registrations stand, and every change as it happens");
  CLI::Option* name =
      command->add_option("REG", arguments->name, "Only this one, until it is gone");
  command->add_flag("--all", arguments->all, "Those of all owners, over the admin socket")
      ->excludes(name);
  command->callback([&session, arguments] {
    session.json_lines = true;
    session.run = [&session, arguments] {
      return RunWatch(session, arguments->name, arguments->all);
    };
  });
}

}  // namespace smartkey::ctl
