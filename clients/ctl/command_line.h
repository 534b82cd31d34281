// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace smartkey::ctl {

// Runs `smartkeyctl ARGS...` (without the program's name) and returns the exit code; base/error.h
// has their meaning. Results go to `out`, everything else to `err`.
int RunCommandLine(const std::vector<std::string>& args, std::ostream& out, std::ostream& err);

// The command that was probably meant; absent if none is near.
absl::optional<std::string> NearestWord(absl::string_view typed,
                                        const std::vector<std::string>& words);

}  // namespace smartkey::ctl
