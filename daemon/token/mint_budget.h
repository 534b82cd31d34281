// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"

namespace smartkey {

// How many tokens may be asked for on behalf of one registration: 30 at once, then one every two
// seconds. An app that asks for ever new scope sets would otherwise sign and send as fast as the
// hardware can, and bring down the server's patience on everybody. Not thread-safe.
class MintBudget {
 public:
  // OK, and one is taken; or kRateLimited with the time until the next.
  absl::Status Take(const std::string& registration_id, BootTime now);

 private:
  struct Used {
    double mints = 0;  // not yet regained
    BootTime at;
  };
  std::map<std::string, Used> used_;
};

}  // namespace smartkey
