// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/command_line.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <utility>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/help_formatter.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/session.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

// What was typed where a command belongs, if it is none. `value` options are skipped with their
// value.
absl::optional<std::string> UnknownCommand(const CLI::App& app,
                                           const std::vector<std::string>& args) {
  const std::vector<std::string> names = CommandNames(app);
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--socket") {
      ++i;
    } else if (!absl::StartsWith(args[i], "-")) {
      if (std::find(names.begin(), names.end(), args[i]) != names.end()) return absl::nullopt;
      return args[i];
    }
  }
  return absl::nullopt;
}

absl::Status NoSuchCommand(const CLI::App& app, const std::string& typed) {
  std::string message = absl::StrCat("there is no command '", TerminalText(typed, 40), "'");
  if (const auto nearest = NearestWord(typed, CommandNames(app))) {
    absl::StrAppend(&message, "; did you mean '", *nearest, "'?");
  }
  return WithRemedy(MakeError(Reason::kInvalidArgument, message), "see 'smartkeyctl --help'");
}

// The program and the commands that were typed, the innermost last: smartkeyctl, tpm, provision.
std::vector<const CLI::App*> ChosenCommands(const CLI::App& app) {
  std::vector<const CLI::App*> chosen = {&app};
  for (auto next = app.get_subcommands(); !next.empty(); next = chosen.back()->get_subcommands()) {
    chosen.push_back(next.front());
  }
  return chosen;
}

// "smartkeyctl tpm" for the first two.
std::string CommandLineOf(const std::vector<const CLI::App*>& chosen, size_t count) {
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(chosen[i]->get_name());
  return absl::StrJoin(names, " ");
}

int ReportError(const absl::Status& status, const Session& session) {
  if (session.json) {
    nlohmann::json error = {{"error", ToJson(status)}};
    session.out << (session.json_lines ? ToJsonLine(std::move(error))
                                       : ToJsonDocument(std::move(error)));
  }
  const size_t columns = ProseColumns(STDERR_FILENO);
  const std::string message = absl::StrCat("smartkeyctl: ", TerminalText(status.message(), 1024));
  session.err << WrapWords(message, 0, columns) << "\n  "
              << WrapWords(TerminalText(RemedyOf(status)), 2, columns) << "\n";
  if (const auto wait = RetryAfterOf(status)) {
    session.err << "  try again in " << absl::FormatDuration(absl::Ceil(*wait, absl::Seconds(1)))
                << "\n";
  }
  return static_cast<int>(ExitCodeOf(status));
}

// CLI11's own exit codes (106, 109, ...) say nothing to anybody.
int ReportParseError(const CLI::App& app, const std::vector<std::string>& args,
                     const CLI::ParseError& error, Session& session) {
  // CLI11 had no time for it, nor for what the command would print.
  session.json = std::find(args.begin(), args.end(), "--json") != args.end();
  session.json_lines = true;
  if (const auto typed = UnknownCommand(app, args)) {
    return ReportError(NoSuchCommand(app, *typed), session);
  }
  const std::vector<const CLI::App*> chosen = ChosenCommands(app);
  return ReportError(
      WithRemedy(MakeError(Reason::kInvalidArgument, error.what()),
                 absl::StrCat("see '", CommandLineOf(chosen, chosen.size()), " --help'")),
      session);
}

}  // namespace

absl::optional<std::string> NearestWord(absl::string_view typed,
                                        const std::vector<std::string>& words) {
  absl::optional<std::string> nearest;
  size_t best = std::max<size_t>(1, typed.size() / 2);
  for (const std::string& word : words) {
    const size_t distance = EditDistance(typed, word);
    if (distance > best || (nearest.has_value() && distance == best)) continue;
    best = distance;
    nearest = word;
  }
  return nearest;
}

int RunCommandLine(const std::vector<std::string>& args, std::ostream& out, std::ostream& err) {
  Session session{out, err, "", false, nullptr};
  CLI::App app("Manages what smartkeyd holds: registrations, their hardware keys and tokens.",
               "smartkeyctl");
  app.formatter(std::make_shared<HelpFormatter>());  // Before the commands, which take it over.
  app.set_version_flag("--version", VersionLine(), "Print smartkeyctl's version and exit");
  app.fallthrough();
  app.require_subcommand(1);
  app.add_option("--socket", session.socket,
                 "Socket of smartkeyd (default: SMARTKEY_SOCKET, or "
                 "/run/smartkeyd/smartkeyd.sock)")
      ->type_name("PATH");
  app.add_flag("--json", session.json, "Print one JSON object");
  AddEnroll(app, session);
  AddRenew(app, session);
  AddList(app, session);
  AddShow(app, session);
  AddWatch(app, session);
  AddEdit(app, session);
  AddSuspend(app, session);
  AddResume(app, session);
  AddRotate(app, session);
  AddChown(app, session);
  AddDelete(app, session);
  AddShare(app, session);
  AddUnshare(app, session);
  AddRequest(app, session);
  AddRequests(app, session);
  AddApprove(app, session);
  AddDeny(app, session);
  AddExplain(app, session);
  AddToken(app, session);
  AddReportRejected(app, session);
  AddAssertion(app, session);
  AddJwks(app, session);
  AddKeys(app, session);
  AddServers(app, session);
  AddApps(app, session);
  AddStatus(app, session);
  AddDoctor(app, session);
  AddReport(app, session);
  AddAudit(app, session);
  AddMetrics(app, session);
  AddReload(app, session);
  AddLogLevel(app, session);
  AddStore(app, session);
  AddTpm(app, session);
  AddCompletion(app, session);
  AddVersion(app, session);
  try {
    // CLI11 takes them last first.
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForVersion& version) {
    out << version.what() << "\n";
    return 0;
  } catch (const CLI::Success&) {  // --help
    const std::vector<const CLI::App*> chosen = ChosenCommands(app);
    out << chosen.back()->help(CommandLineOf(chosen, chosen.size() - 1));
    return 0;
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, args, error, session);
  }
  const absl::Status status = session.run();
  if (!status.ok()) return ReportError(status, session);
  out.flush();
  if (!out) return ReportError(OutputFailure(), session);
  return static_cast<int>(session.exit_code);
}

}  // namespace smartkey::ctl
