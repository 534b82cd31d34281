// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "clients/ctl/aliases.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/diagnosis.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

using nlohmann::json;

// As in docs/doctor.md.
constexpr uint32_t kSocketCheck = 1;
constexpr uint32_t kUnitCheck = 2;
constexpr uint32_t kAdminCheck = 5;

std::string HostOf(const std::string& url) {
  const size_t begin = url.find("://");
  if (begin == std::string::npos) return "";
  const size_t end = url.find_first_of("/:?", begin + 3);
  return url.substr(begin + 3, end == std::string::npos ? end : end - begin - 3);
}

void AddRegistration(const client::Registration& one, Aliases& aliases) {
  aliases.Add("registration", one.id);
  aliases.Add("user", one.owner.name);
  aliases.Add("name", one.name);
  aliases.Add("label", one.label);
  aliases.Add("server", one.server);
  aliases.Add("url", one.fhir_base);
  aliases.Add("host", HostOf(one.fhir_base));
  for (const client::Share& share : one.shares) aliases.Add("principal", share.principal);
}

// What can be said of a registration to a stranger.
json RegistrationFacts(const client::Registration& one) {
  json out = {{"registration", one.id},
              {"server", one.server},
              {"state", std::string(Name(one.state))},
              {"suspended", one.suspended.has_value()},
              {"shares", one.shares.size()}};
  if (one.cause.has_value()) out["cause"] = std::string(ReasonName(one.cause->reason));
  return out;
}

// Texts that may name anybody, while it is not known who there is: all but those of the socket and
// the unit, which are asked for first when nothing works.
void LeaveTextsOut(json& report) {
  for (json& result : report["diagnosis"]) {
    const uint32_t number = result["number"];
    if (number == kSocketCheck || number == kUnitCheck || number == kAdminCheck) continue;
    if (absl::StartsWith(result["check"].get_ref<const std::string&>(), "server ")) {
      result["check"] = "server";
    }
    result["finding"] = "left out";
    result.erase("remedy");
  }
  report.erase("status");
  report.erase("metrics");
  report["left_out"] =
      "the texts of findings, status and metrics: without the lists of registrations and servers "
      "it is not known which names are in them";
}

// False if it is not known afterwards who and what there is.
bool CollectFromDaemon(client::AdminClient& admin, json& report, Aliases& aliases) {
  if (const auto status = admin.GetStatus(); status.ok()) {
    report["status"] = ToJson(*status);
    for (const auto& server : status->servers) aliases.Add("server", server.name);
  }
  if (const auto metrics = admin.GetMetrics(); metrics.ok()) report["metrics"] = *metrics;
  const auto servers = admin.ListServers();
  if (servers.ok()) {
    for (const client::Server& server : *servers) {
      aliases.Add("server", server.name);
      aliases.Add("url", server.fhir_base);
      aliases.Add("host", HostOf(server.fhir_base));
    }
  }
  const auto all = admin.ListRegistrations();
  if (all.ok()) {
    for (const client::Registration& one : *all) {
      AddRegistration(one, aliases);
      report["registrations"].push_back(RegistrationFacts(one));
    }
  }
  return servers.ok() && all.ok();
}

json Collect(const Session& session, Aliases& aliases) {
  utsname system{};
  uname(&system);
  aliases.Add("host", system.nodename);
  json report = {{"report", "smartkeyd"},
                 {"smartkeyctl", SMARTKEY_VERSION},
                 {"kernel", absl::StrCat(system.sysname, " ", system.release, " ", system.machine)},
                 {"diagnosis", json::array()},
                 {"registrations", json::array()}};
  Diagnose(session, DiagnosisOptions(), [&](const client::DiagnosticResult& result) {
    report["diagnosis"].push_back(ToJson(result));
  });
  const auto known = [&]() -> bool {
    auto admin = session.ConnectAdmin();
    return admin.ok() && CollectFromDaemon(**admin, report, aliases);
  };
  if (!known()) LeaveTextsOut(report);
  return report;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return MakeError(Reason::kInvalidArgument,
                     absl::StrCat("writing ", path, ": ", strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status RunReport(const Session& session, std::string path) {
  Aliases aliases;
  json report = Collect(session, aliases);
  aliases.Apply(report);
  json written = {{"file", ""}};
  if (report.contains("left_out")) written["left_out"] = report["left_out"];
  const std::string text = ToJsonDocument(std::move(report));
  if (path == "-") {
    session.out << text;
    return session.out ? absl::OkStatus() : OutputFailure();
  }
  if (path.empty()) {
    path = absl::FormatTime("smartkey-report-%Y%m%d-%H%M%S.json", absl::Now(), absl::UTCTimeZone());
  }
  if (absl::Status status = WriteFile(path, text); !status.ok()) return status;
  if (session.json) {
    written["file"] = path;
    session.out << ToJsonDocument(std::move(written));
    return absl::OkStatus();
  }
  session.out << "Wrote " << path
              << ". Registrations, users, servers and hosts have other words in it.\n";
  if (written.contains("left_out")) {
    session.out
        << "Most texts are left out: smartkeyd did not say which names may be in them. Run it "
        << "as root, if you have not.\n";
  }
  session.out << "Read it before you send it to anybody.\n";
  return absl::OkStatus();
}

}  // namespace

void AddReport(CLI::App& app, Session& session) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("report", "Write a file for whoever is to help");
  command->footer(
      "What doctor, status and metrics say, with other words in the place of registrations, users, "
      "servers and hosts. Best as root.");
  command
      ->add_option("--output", *path,
                   "Where to (default: smartkey-report-DATE-TIME.json, here); '-': standard output")
      ->type_name("FILE");
  command->callback(
      [&session, path] { session.run = [&session, path] { return RunReport(session, *path); }; });
}

}  // namespace smartkey::ctl
