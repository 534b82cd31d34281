// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/diagnosis.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

absl::Status RunDoctor(Session& session, const DiagnosisOptions& options) {
  int broken = 0, suspicious = 0, passed = 0;
  Diagnose(session, options, [&](const client::DiagnosticResult& result) {
    broken += result.outcome == "BROKEN" ? 1 : 0;
    suspicious += result.outcome == "SUSPICIOUS" ? 1 : 0;
    passed += result.outcome == "PASSED" ? 1 : 0;
    session.out << (session.json ? ToJsonLine(ToJson(result)) : DiagnosticText(result))
                << std::flush;
  });
  if (!session.json) {
    session.out << "\n"
                << passed << " as they should be, " << suspicious << " to be looked at, " << broken
                << " broken.\n";
  }
  if (broken > 0) session.exit_code = ExitCode::kFailed;
  return session.out ? absl::OkStatus() : OutputFailure();
}

}  // namespace

void AddDoctor(CLI::App& app, Session& session) {
  auto options = std::make_shared<DiagnosisOptions>();
  CLI::App* command = app.add_subcommand("doctor", "Try all that has to work, and say what to do");
  command->footer(
      "The hardware, the servers, the database, the configuration. Best as root. Ends with 1 if "
      "something is broken.");
  command
      ->add_option("--area", options->area,
                   "Only this: access, audit, client, config, hardware, process, registrations, "
                   "servers, store")
      ->option_text("AREA")
      ->check(CLI::IsMember({"access", "audit", "client", "config", "hardware", "process",
                             "registrations", "servers", "store"}));
  command->add_option("--server", options->server, "Of the servers only this one")
      ->type_name("SERVER");
  command->callback([&session, options] {
    session.json_lines = true;
    session.run = [&session, options] { return RunDoctor(session, *options); };
  });
}

}  // namespace smartkey::ctl
