// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/completion_script.h"

namespace smartkey::ctl {
namespace {

using Kind = CompletedValue::Kind;

// What the parser itself cannot know: whose values can be listed. By the option's name, or the
// positional's.
struct Source {
  absl::string_view name;
  Kind kind;
  absl::string_view words;
};
constexpr Source kSources[] = {
    {"REG", Kind::kNames, "registrations"},
    {"SERVER", Kind::kNames, "servers"},
    {"--server", Kind::kNames, "servers"},
    {"--app", Kind::kNames, "apps"},
    {"--allow", Kind::kWordList, "token dpop jwt assertion manage"},
    {"USER", Kind::kUsers, ""},
    {"--owner", Kind::kUsers, ""},
    {"--algorithm", Kind::kWords, "ES256 ES384 RS256 RS384"},
    {"LEVEL", Kind::kWords, "error warning info debug"},
    {"--output", Kind::kFiles, ""},
    {"--socket", Kind::kFiles, ""},
    {"--with-token-file", Kind::kFiles, ""},
    {"--owner-password-file", Kind::kFiles, ""},
};

CompletedValue ValueOf(const CLI::Option& option, const std::string& name) {
  CompletedValue value;
  const std::string type = option.get_type_name();
  value.name = option.get_positional() && !option.nonpositional() ? name : type;
  const size_t begin = type.find('{');
  if (begin != std::string::npos) {  // "TEXT:{fixed,varies}"
    value.name = type.substr(0, type.find(':'));
    value.kind = Kind::kWords;
    value.words = absl::StrSplit(type.substr(begin + 1, type.find('}') - begin - 1), ',');
    return value;
  }
  for (const Source& source : kSources) {
    if (source.name != name) continue;
    value.kind = source.kind;
    value.words = absl::StrSplit(source.words, ' ', absl::SkipEmpty());
  }
  return value;
}

void AddOption(const CLI::Option& option, CompletedCommand& command) {
  if (option.get_group().empty()) return;  // hidden
  if (!option.nonpositional()) {
    command.positionals.push_back(ValueOf(option, option.get_name()));
    return;
  }
  for (const std::string& word : option.get_lnames()) {
    CompletedOption completed{"--" + word, option.get_description(), absl::nullopt, false};
    if (option.get_items_expected_max() > 0) completed.value = ValueOf(option, completed.name);
    completed.repeatable = option.get_items_expected_max() > 1;
    command.options.push_back(std::move(completed));
  }
}

CompletedCommand CommandOf(const CLI::App& app, std::vector<std::string> path) {
  CompletedCommand command;
  command.path = std::move(path);
  command.description = app.get_description();
  for (const CLI::Option* option : app.get_options()) AddOption(*option, command);
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (below->get_name().empty()) {  // a group of options
      for (const CLI::Option* option : below->get_options()) {
        // Each group has a --help of its own.
        if (option != below->get_help_ptr()) AddOption(*option, command);
      }
      continue;
    }
    std::vector<std::string> name = command.path;
    name.push_back(below->get_name());
    command.commands.push_back(CommandOf(*below, std::move(name)));
  }
  return command;
}

absl::StatusOr<std::vector<std::string>> Names(const Session& session, absl::string_view of_what) {
  // Somebody's line waits for it.
  const client::CallOptions soon{.timeout = absl::Seconds(2)};
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  std::vector<std::string> names;
  const auto take = [&names](const auto& list, auto member) {
    for (const auto& one : list) names.push_back(one.*member);
  };
  if (of_what == "registrations") {
    auto registrations = (*client)->ListRegistrations({}, soon);
    if (!registrations.ok()) return registrations.status();
    take(*registrations, &client::Registration::name);
  } else if (of_what == "servers") {
    auto servers = (*client)->ListServers(soon);
    if (!servers.ok()) return servers.status();
    take(*servers, &client::Server::name);
  } else {
    auto apps = (*client)->ListApps(soon);
    if (!apps.ok()) return apps.status();
    take(*apps, &client::App::id);
  }
  return names;
}

// A shell expands what it completes: only names that mean nothing to any shell.
bool IsPlain(absl::string_view name) {
  return !name.empty() && name[0] != '-' && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

absl::Status PrintNames(const Session& session, const std::string& of_what) {
  auto names = Names(session, of_what);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (IsPlain(name)) session.out << name << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddCompletion(CLI::App& app, Session& session) {
  struct Arguments {
    std::string shell;
    std::string names;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("completion", "Print a script that completes these commands in a shell");
  command->add_option("SHELL", arguments->shell, "bash or zsh")
      ->check(CLI::IsMember(std::vector<std::string>{"bash", "zsh"}));
  command->add_option("--names", arguments->names, "For that script: what the daemon knows")
      ->check(CLI::IsMember(std::vector<std::string>{"registrations", "servers", "apps"}))
      ->group("");
  command->callback([&app, &session, arguments] {
    session.run = [&app, &session, arguments]() -> absl::Status {
      if (!arguments->names.empty()) return PrintNames(session, arguments->names);
      if (arguments->shell.empty()) {
        return WithRemedy(MakeError(Reason::kInvalidArgument, "say for which shell: bash or zsh"),
                          "'smartkeyctl completion bash', or zsh");
      }
      const CompletedCommand program = CommandOf(app, {});
      session.out << (arguments->shell == "bash" ? BashCompletion(program)
                                                 : ZshCompletion(program));
      return absl::OkStatus();
    };
  });
}

}  // namespace smartkey::ctl
