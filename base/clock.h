// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>

#include "absl/time/time.h"

namespace smartkey {

// A point on CLOCK_BOOTTIME: counts while the machine sleeps, and nobody can step it. Ages and
// deadlines use it; the wall clock is only for what is written down or sent (JWT claims, records).
class BootTime {
 public:
  BootTime() = default;
  static BootTime FromSinceBoot(absl::Duration since_boot) { return BootTime(since_boot); }
  static BootTime InfiniteFuture() { return BootTime(absl::InfiniteDuration()); }

  absl::Duration SinceBoot() const { return since_boot_; }

  friend BootTime operator+(BootTime t, absl::Duration d) { return BootTime(t.since_boot_ + d); }
  friend BootTime operator-(BootTime t, absl::Duration d) { return BootTime(t.since_boot_ - d); }
  friend absl::Duration operator-(BootTime a, BootTime b) { return a.since_boot_ - b.since_boot_; }
  friend bool operator==(BootTime a, BootTime b) { return a.since_boot_ == b.since_boot_; }
  friend bool operator<(BootTime a, BootTime b) { return a.since_boot_ < b.since_boot_; }
  friend bool operator<=(BootTime a, BootTime b) { return a.since_boot_ <= b.since_boot_; }
  friend bool operator>(BootTime a, BootTime b) { return b < a; }
  friend bool operator>=(BootTime a, BootTime b) { return b <= a; }

 private:
  explicit BootTime(absl::Duration since_boot) : since_boot_(since_boot) {}
  absl::Duration since_boot_ = absl::ZeroDuration();
};

// Where time comes from. Only managers hold a Clock; everything below takes `now`. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;  // wall clock
  virtual BootTime Boot() const = 0;
};

class SystemClock : public Clock {
 public:
  absl::Time Now() const override;
  BootTime Boot() const override;
};

}  // namespace smartkey
