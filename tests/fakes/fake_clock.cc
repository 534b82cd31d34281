// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_clock.h"

namespace smartkey {

absl::Time FakeClock::Now() const {
  MutexLock lock(mu_);
  return now_;
}

BootTime FakeClock::Boot() const {
  MutexLock lock(mu_);
  return BootTime::FromSinceBoot(boot_);
}

void FakeClock::Advance(absl::Duration by) {
  MutexLock lock(mu_);
  now_ += by;
  boot_ += by;
}

void FakeClock::StepWall(absl::Duration by) {
  MutexLock lock(mu_);
  now_ += by;
}

}  // namespace smartkey
