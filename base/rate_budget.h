// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/clock.h"

namespace smartkey {

// How often something may be done on behalf of somebody: so many times at once, then once every so
// often. Not thread-safe.
class RateBudget {
 public:
  // `refusal` says what there was too much of.
  RateBudget(int at_once, absl::Duration regain_one_in, std::string refusal)
      : at_once_(at_once), regain_one_in_(regain_one_in), refusal_(std::move(refusal)) {}

  // OK, and one is taken; or kRateLimited with the time until the next. `whose` is a uid, a
  // registration, or whatever else has a budget of its own.
  absl::Status Take(const std::string& whose, BootTime now);

 private:
  const double at_once_;
  const absl::Duration regain_one_in_;
  const std::string refusal_;
  struct Used {
    double times = 0;  // not yet regained
    BootTime at;
  };
  std::map<std::string, Used> used_;
};

}  // namespace smartkey
