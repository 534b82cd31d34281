// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/time/time.h"
#include "daemon/model/access_token.h"

namespace smartkey {

// When a token counts as fresh, when it is replaced, and how long to wait after failures. Pure functions.

// A token with less than this left is not handed out while another can be had: max(10 s, min(60 s, a tenth
// of its life)), but never more than a third of its life.
absl::Duration ExpiryMargin(absl::Duration lifetime);

// Sets lifetime and refresh_after of a token just received at `now` that lives until token.expires: between half and two
// thirds of its life, chosen by `jitter` in [0, 1), so that apps and machines do not come all at once.
void SetRefreshTime(AccessToken& token, BootTime now, absl::Time wall_now, double jitter);

// How long after the `failures`th failure in a row (1 = the first) nothing is tried: 1, 2, 4 ... 300 s,
// times 0.8 to 1.2 by `jitter` in [0, 1).
absl::Duration TransientBackoff(int failures, double jitter);

// After refusals by the authorization server: 5 minutes, then 1 hour; a day once a person must renew.
absl::Duration RefusalBackoff(int refusals, bool reauth_required, double jitter);

// While a client has just been registered and the server may not know it everywhere yet: 1, 2, 4 ... 15 s.
absl::Duration VerifyingBackoff(int attempts);

}  // namespace smartkey
