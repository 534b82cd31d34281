// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/registration_filter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace smartkey {

bool FitsFilter(const Registration& registration, const v1::RegistrationFilter& filter,
                const Standings& standings) {
  const auto& states = filter.states();
  const auto state = static_cast<int>(standings.StateOf(registration));
  return (filter.app().empty() || registration.app_id == filter.app()) &&
         (filter.fhir_base().empty() || absl::StripSuffix(registration.fhir_base, "/") ==
                                            absl::StripSuffix(filter.fhir_base(), "/")) &&
         (states.empty() || std::find(states.begin(), states.end(), state) != states.end()) &&
         (filter.server().empty() || standings.ServerNameOf(registration) == filter.server()) &&
         (filter.owner().empty() || registration.owner_name == filter.owner() ||
          absl::StrCat("uid:", registration.owner_uid) == filter.owner());
}

}  // namespace smartkey
