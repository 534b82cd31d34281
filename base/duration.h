// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace smartkey {

// A length of time as people type it: whole numbers with the units y (365 days), d, h, m, s, the
// longer one first: "90s", "5m", "1h30m", "2d", "1y". At most ten years. Errors: kInvalidArgument,
// also for a number without a unit.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

}  // namespace smartkey
