// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/browser_arguments.h"

#include "base/duration.h"
#include "base/error.h"

namespace smartkey::ctl {
namespace {

// smartkeyd ends an enrollment by itself then.
constexpr absl::Duration kLongestPatience = absl::Minutes(10);

}  // namespace

void BrowserArguments::AddTo(CLI::App& command) {
  no_browser_option_ = command.add_flag("--no-browser", no_browser_,
                                        "Only print the address; the redirect may be pasted back");
  command.add_option("--wait", wait_, "How long to wait for the browser: 90s, 10m (default 5m)")
      ->type_name("DURATION");
}

absl::StatusOr<BrowserEnrollmentOptions> BrowserArguments::ToOptions() const {
  BrowserEnrollmentOptions options;
  options.open_browser = !no_browser_;
  if (wait_.empty()) return options;
  auto wait = ParseDuration(wait_);
  if (!wait.ok()) return Annotate(wait.status(), "--wait");
  if (*wait > kLongestPatience) {
    return MakeError(Reason::kInvalidArgument, "--wait: an enrollment ends after ten minutes");
  }
  options.patience = *wait;
  return options;
}

}  // namespace smartkey::ctl
