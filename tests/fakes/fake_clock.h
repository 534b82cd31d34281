// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"
#include "base/mutex.h"

namespace smartkey {

// A clock that a test moves. Boot time and wall clock are moved apart: a wall clock can be stepped.
// Thread-safe.
class FakeClock : public Clock {
 public:
  absl::Time Now() const override;
  BootTime Boot() const override;

  void Advance(absl::Duration by);   // both
  void StepWall(absl::Duration by);  // the wall clock only

 private:
  mutable Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'800'000'000);
  absl::Duration boot_ ABSL_GUARDED_BY(mu_) = absl::Hours(1);
};

}  // namespace smartkey
