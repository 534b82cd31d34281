// SPDX-License-Identifier: Apache-2.0
#include "base/rate_budget.h"

#include <algorithm>

#include "base/error.h"

namespace smartkey {

namespace {
constexpr size_t kMostRemembered = 10'000;
}  // namespace

absl::Status RateBudget::Take(const std::string& whose, BootTime now) {
  if (used_.size() >= kMostRemembered) {
    std::erase_if(used_, [&](const auto& entry) {
      return now - entry.second.at > at_once_ * regain_one_in_;
    });
  }
  Used& used = used_[whose];
  used.times = std::max(0.0, used.times - absl::FDivDuration(now - used.at, regain_one_in_));
  used.at = now;
  if (used.times + 1 > at_once_) {
    return WithRetryAfter(MakeError(Reason::kRateLimited, refusal_),
                          (used.times + 1 - at_once_) * regain_one_in_);
  }
  used.times += 1;
  return absl::OkStatus();
}

}  // namespace smartkey
