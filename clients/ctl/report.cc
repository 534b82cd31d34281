// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/diagnosis.h"
#include "clients/ctl/json_output.h"

namespace smartkey::ctl {
namespace {

using nlohmann::json;

// Puts words in the place of what names somebody or something of this machine: the same word for
// the same thing throughout, so that a reader can follow it.
class Aliases {
 public:
  void Add(const std::string& kind, const std::string& value) {
    // Shorter ones would be found inside of everything.
    if (value.size() < 2 || aliases_.count(value) > 0) return;
    aliases_[value] = absl::StrCat("<", kind, "-", ++counts_[kind], ">");
  }

  // Of several that begin at the same place the longest counts.
  std::string Apply(const std::string& text) const {
    std::vector<std::pair<absl::string_view, absl::string_view>> pairs(aliases_.begin(),
                                                                       aliases_.end());
    return absl::StrReplaceAll(text, pairs);
  }

 private:
  std::map<std::string, std::string> aliases_;
  std::map<std::string, int> counts_;
};

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
  auto admin = session.ConnectAdmin();
  if (!admin.ok()) return report;
  if (const auto status = (*admin)->GetStatus(); status.ok()) {
    report["status"] = ToJson(*status);
    for (const auto& server : status->servers) aliases.Add("server", server.name);
  }
  if (const auto servers = (*admin)->ListServers(); servers.ok()) {
    for (const client::Server& server : *servers) {
      aliases.Add("server", server.name);
      aliases.Add("url", server.fhir_base);
      aliases.Add("host", HostOf(server.fhir_base));
    }
  }
  if (const auto all = (*admin)->ListRegistrations(); all.ok()) {
    for (const client::Registration& one : *all) {
      AddRegistration(one, aliases);
      report["registrations"].push_back(RegistrationFacts(one));
    }
  }
  if (const auto metrics = (*admin)->GetMetrics(); metrics.ok()) report["metrics"] = *metrics;
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
  const json report = Collect(session, aliases);
  const std::string text = aliases.Apply(ToJsonDocument(report));
  if (path == "-") {
    session.out << text;
    return session.out ? absl::OkStatus() : OutputFailure();
  }
  if (path.empty()) {
    path = absl::FormatTime("smartkey-report-%Y%m%d-%H%M%S.json", absl::Now(), absl::UTCTimeZone());
  }
  if (absl::Status status = WriteFile(path, text); !status.ok()) return status;
  session.out << "Wrote " << path
              << ". Registrations, users, servers and hosts have other words in "
              << "it.\nRead it before you send it to anybody.\n";
  return absl::OkStatus();
}

}  // namespace

void AddReport(CLI::App& app, Session& session) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "report",
      "Write a file for whoever is to help: what doctor, status and metrics say, with other words "
      "in the place of registrations, users, servers and hosts. Best as root.");
  command->add_option("--output", *path, "Where to; '-': standard output")->type_name("FILE");
  command->callback(
      [&session, path] { session.run = [&session, path] { return RunReport(session, *path); }; });
}

}  // namespace smartkey::ctl
