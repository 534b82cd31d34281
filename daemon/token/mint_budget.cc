// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/mint_budget.h"

#include <algorithm>

#include "base/error.h"

namespace smartkey {

namespace {
constexpr double kAtOnce = 30;
constexpr absl::Duration kRegainOneIn = absl::Seconds(2);
constexpr size_t kMostRemembered = 10'000;
}  // namespace

absl::Status MintBudget::Take(const std::string& registration_id, BootTime now) {
  if (used_.size() >= kMostRemembered) {
    std::erase_if(
        used_, [&](const auto& entry) { return now - entry.second.at > kAtOnce * kRegainOneIn; });
  }
  Used& used = used_[registration_id];
  used.mints = std::max(0.0, used.mints - absl::FDivDuration(now - used.at, kRegainOneIn));
  used.at = now;
  if (used.mints + 1 > kAtOnce) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "too many different tokens were asked for in a short time"),
        (used.mints + 1 - kAtOnce) * kRegainOneIn);
  }
  used.mints += 1;
  return absl::OkStatus();
}

}  // namespace smartkey
