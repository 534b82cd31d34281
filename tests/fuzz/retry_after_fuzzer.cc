// SPDX-License-Identifier: Apache-2.0
// Retry-After of a busy server: what it says holds requests back.
//
// Input: the header's value. What is understood is between now and an hour from now; digits alone
// are understood, and what reads as a date gives less the later it is read.
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "daemon/oauth/token_endpoint.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'767'225'600);

void Check(absl::string_view value) {
  const absl::optional<absl::Duration> wait = ParseRetryAfter(value, kNow);
  const absl::optional<absl::Duration> later = ParseRetryAfter(value, kNow + absl::Minutes(1));
  Require(wait.has_value() == later.has_value(), "the time decides what is understood");
  if (!wait.has_value()) {
    Require(value.empty() || value.find_first_not_of("0123456789") != absl::string_view::npos,
            "plain seconds are not understood");
    return;
  }
  Require(*wait >= absl::ZeroDuration() && *wait <= absl::Hours(1), "the wait is out of bounds");
  Require(*later <= *wait, "later means longer");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
