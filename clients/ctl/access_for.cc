// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/access_for.h"

#include "base/duration.h"
#include "base/error.h"

namespace smartkey::ctl {

void AddAccessFor(CLI::App& command, std::string& access_for) {
  command
      .add_option("--access-for", access_for,
                  "How long you allow the access in the portal, to be warned before: 90d, 1y")
      ->type_name("DURATION");
}

absl::StatusOr<absl::Duration> ParseAccessFor(const std::string& access_for) {
  if (access_for.empty()) return absl::ZeroDuration();
  auto parsed = ParseDuration(access_for);
  if (!parsed.ok()) return Annotate(parsed.status(), "--access-for");
  if (*parsed > absl::ZeroDuration()) return *parsed;
  return MakeError(Reason::kInvalidArgument,
                   "--access-for: leave it out if the access has no known end");
}

}  // namespace smartkey::ctl
