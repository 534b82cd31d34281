// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace smartkey::ctl {

// --access-for, for every command that ends in a login: how long the person allows the access. No
// server tells that, so who does not say it is warned late or not at all.
void AddAccessFor(CLI::App& command, std::string& access_for);

// Zero if it was not given. Errors: kInvalidArgument.
absl::StatusOr<absl::Duration> ParseAccessFor(const std::string& access_for);

}  // namespace smartkey::ctl
