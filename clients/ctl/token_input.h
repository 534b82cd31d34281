// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/secret.h"

namespace smartkey::ctl {

// A token from a file, or from standard input for "-": never from the command line, which everybody
// can read. White space around it is cut off. Errors: kInvalidArgument, also for an empty one and
// for more than 64 KiB.
absl::StatusOr<Secret> ReadToken(const std::string& path);

}  // namespace smartkey::ctl
