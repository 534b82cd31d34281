// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret.h"

namespace smartkey::ctl {

// A secret from a file, or from standard input for "-": never from the command line or the
// environment, which others can read. All of it, without the line end that editors and `echo` put
// behind it. `what` names it in messages: "token". Errors: kInvalidArgument (cannot be read, empty,
// longer than `longest`).
absl::StatusOr<Secret> ReadSecretFile(const std::string& path, absl::string_view what,
                                      size_t longest);

}  // namespace smartkey::ctl
