// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.h"

#include <ostream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"

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

int CheckConfig(const std::string& main_file, std::ostream& out) {
  const ConfigReport report = ReadConfig(main_file);
  std::set<std::string> ignored;
  for (const ConfigProblem& problem : report.errors) out << problem.ToString() << "\n";
  for (const ConfigProblem& problem : report.config.problems) {
    out << problem.ToString() << "\n";
    ignored.insert(problem.file);
  }
  for (const std::string& file : ignored) out << file << ": would be ignored\n";
  if (!report.errors.empty()) {
    out << main_file << ": smartkeyd would not start\n";
  } else if (ignored.empty()) {
    out << main_file << ": no problems; " << report.config.catalog.apps.size() << " apps, "
        << report.config.catalog.servers.size() << " servers\n";
  }
  return report.errors.empty() && ignored.empty() ? 0 : 1;
}

}  // namespace smartkey
