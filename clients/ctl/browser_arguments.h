// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "clients/ctl/browser_enrollment.h"

namespace smartkey::ctl {

// --no-browser and --wait, for every command that goes through a browser.
class BrowserArguments {
 public:
  // Declares them. This must outlive `command`.
  void AddTo(CLI::App& command);
  CLI::Option* no_browser_option() const { return no_browser_option_; }
  // Errors: kInvalidArgument.
  absl::StatusOr<BrowserEnrollmentOptions> ToOptions() const;

 private:
  bool no_browser_ = false;
  std::string wait_;
  CLI::Option* no_browser_option_ = nullptr;
};

}  // namespace smartkey::ctl
