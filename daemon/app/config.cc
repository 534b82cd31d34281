// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.h"

#include <unistd.h>

#include <cerrno>
#include <ostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "daemon/app/config_access.h"

namespace smartkey {

absl::StatusOr<Config> LoadConfig(const std::string& main_file) {
  ConfigReport report = ReadConfig(main_file);
  if (report.errors.empty()) return std::move(report.config);
  absl::Status status =
      MakeError(Reason::kConfigInvalid,
                absl::StrJoin(report.errors, "\n", [](std::string* out, const auto& problem) {
                  absl::StrAppend(out, problem.ToString());
                }));
  // A file that cannot be used as a whole has no line; what mends it is in the words already.
  if (report.errors.front().line == 0) {
    status = WithRemedy(std::move(status),
                        "do what is said there, as root; smartkeyd looks again at its next start");
  }
  return status;
}

int CheckConfig(const std::string& main_file, std::ostream& out, const UserDatabase& users) {
  const ConfigReport report = ReadConfig(main_file, ConfigUse::kCheck, users);
  const bool is_service = RunsAsService(users);
  // Closed to whoever looks, which need not be so for the service: nothing follows from that.
  const auto is_unknown = [&](const ConfigProblem& problem) {
    return !is_service && access(problem.file.c_str(), R_OK) != 0 && errno == EACCES;
  };
  bool would_start = true;
  std::set<std::string> ignored;
  for (const ConfigProblem& problem : report.errors) {
    out << problem.ToString() << "\n";
    if (!is_unknown(problem)) would_start = false;
  }
  for (const ConfigProblem& problem : report.config.problems) {
    out << problem.ToString() << "\n";
    if (!is_unknown(problem)) ignored.insert(problem.file);
  }
  for (const std::string& file : ignored) out << file << ": would be ignored\n";
  if (!would_start) out << main_file << ": smartkeyd would not start\n";
  if (!report.errors.empty() || !report.config.problems.empty()) return 1;
  out << main_file << ": no problems; " << report.config.catalog.apps.size() << " apps, "
      << report.config.catalog.servers.size() << " servers\n";
  return 0;
}

}  // namespace smartkey
