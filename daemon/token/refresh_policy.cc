// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/refresh_policy.h"

#include <algorithm>
#include <cmath>

namespace smartkey {

absl::Duration ExpiryMargin(absl::Duration lifetime) {
  const absl::Duration margin =
      std::max(absl::Seconds(10), std::min(absl::Seconds(60), lifetime / 10));
  return std::min(margin, lifetime / 3);
}

void SetRefreshTime(AccessToken& token, BootTime now, absl::Time wall_now, double jitter) {
  token.lifetime = token.expires - now;
  const absl::Duration wait = token.lifetime * (0.5 + jitter / 6);
  token.refresh_after = now + wait;
  token.refresh_after_at = wall_now + wait;
}

absl::Duration TransientBackoff(int failures, double jitter) {
  const double seconds = std::min(300.0, std::ldexp(1.0, std::clamp(failures - 1, 0, 9)));
  return absl::Seconds(seconds * (0.8 + 0.4 * jitter));
}

absl::Duration RefusalBackoff(int refusals, bool reauth_required, double jitter) {
  const absl::Duration base = reauth_required ? absl::Hours(24)
                              : refusals <= 1 ? absl::Minutes(5)
                                              : absl::Hours(1);
  return base * (0.9 + 0.2 * jitter);
}

absl::Duration VerifyingBackoff(int attempts) {
  return absl::Seconds(std::min(15.0, std::ldexp(1.0, std::clamp(attempts - 1, 0, 4))));
}

}  // namespace smartkey
