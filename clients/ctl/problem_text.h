// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "smartkey/admin_client.h"

namespace smartkey::ctl {

// `heading` and below it a line for each problem, "  file:line: message"; empty without any.
std::string ProblemsText(absl::string_view heading,
                         const std::vector<client::ConfigProblem>& problems);

}  // namespace smartkey::ctl
