// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "clients/ctl/table.h"
#include "smartkey/admin_client.h"

namespace smartkey::ctl {

// `heading` and below it a line for each problem, "  file:line: message", which goes on in the next
// one before `columns`; empty without any.
std::string ProblemsText(absl::string_view heading,
                         const std::vector<client::ConfigProblem>& problems,
                         size_t columns = ProseColumns(STDOUT_FILENO));

}  // namespace smartkey::ctl
