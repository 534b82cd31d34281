// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// What a person may call a registration, or say of it. Errors: kInvalidArgument, without quoting what was given.

// Names are typed in commands and shown in tables: 1 to 64 letters, digits, dots, dashes or
// underscores, the first one no dash.
absl::Status CheckName(absl::string_view name);

// Labels are free text: at most 200 bytes, no control characters.
absl::Status CheckLabel(absl::string_view label);

// Why something was suspended: free text like a label, for everybody who sees the registration.
absl::Status CheckWhy(absl::string_view why);

}  // namespace smartkey
