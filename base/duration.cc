// SPDX-License-Identifier: Apache-2.0
#include "base/duration.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/error.h"

namespace smartkey {
namespace {

absl::Duration UnitOf(char letter) {
  switch (letter) {
    case 'y':
      return 365 * absl::Hours(24);
    case 'd':
      return absl::Hours(24);
    case 'h':
      return absl::Hours(1);
    case 'm':
      return absl::Minutes(1);
    case 's':
      return absl::Seconds(1);
    default:
      return absl::ZeroDuration();
  }
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  const absl::Status invalid = MakeError(
      Reason::kInvalidArgument, "a duration is written like 90s, 5m, 1h30m, 2d or 1y, at most 10y");
  absl::Duration total;
  absl::Duration last_unit = absl::InfiniteDuration();
  if (text.empty()) return invalid;
  while (!text.empty()) {
    size_t digits = 0;
    while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
    uint32_t count = 0;
    if (digits == text.size() || !absl::SimpleAtoi(text.substr(0, digits), &count)) return invalid;
    const absl::Duration unit = UnitOf(text[digits]);
    if (unit == absl::ZeroDuration() || unit >= last_unit) return invalid;
    total += count * unit;
    last_unit = unit;
    text.remove_prefix(digits + 1);
  }
  if (total > 10 * UnitOf('y')) return invalid;
  return total;
}

}  // namespace smartkey
