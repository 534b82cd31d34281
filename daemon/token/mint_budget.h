// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"

namespace smartkey {

// How many tokens may be asked for on behalf of somebody: so many at once, then one every so often.
// An app that asks for ever new scope sets, or reports every token as rejected, would otherwise
// sign and send as fast as the hardware can, and bring down the server's patience on everybody. Not
// thread-safe.
class MintBudget {
 public:
  MintBudget(int at_once, absl::Duration regain_one_in)
      : at_once_(at_once), regain_one_in_(regain_one_in) {}

  // OK, and one is taken; or kRateLimited with the time until the next. `whose` is a registration,
  // or whatever else has a budget of its own.
  absl::Status Take(const std::string& whose, BootTime now);

 private:
  const double at_once_;
  const absl::Duration regain_one_in_;
  struct Used {
    double mints = 0;  // not yet regained
    BootTime at;
  };
  std::map<std::string, Used> used_;
};

}  // namespace smartkey
