// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

#include "absl/time/clock.h"

namespace smartkey {

absl::Time SystemClock::Now() const { return absl::Now(); }

BootTime SystemClock::Boot() const {
  struct timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return BootTime::FromSinceBoot(absl::DurationFromTimespec(now));
}

}  // namespace smartkey
