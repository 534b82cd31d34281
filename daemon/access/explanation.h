// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "daemon/access/access_policy.h"
#include "daemon/model/caller.h"
#include "daemon/model/registration.h"

namespace smartkey {

// Why a caller may do what he may with a registration, in words for people.
struct Explanation {
  Right right;
  std::vector<std::string> facts;  // what the kernel attests of the caller, one each
  std::vector<std::string> steps;  // the way to the decision; the last one is it
};

// `whole`: with the shares that are not the caller's, which are the owner's and the administrator's
// to know. Whatever AccessPolicy decides is explained from the same rules (share_rules.h).
Explanation Explain(const AccessPolicy& access, const Caller& caller,
                    const Registration& registration, bool whole, absl::Time now);

}  // namespace smartkey
