// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "daemon/model/caller.h"
#include "daemon/model/catalog.h"
#include "daemon/model/registration.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What the [[policy]] blocks of the configuration decide. Pure functions.

// The shares that they make of a registration.
std::vector<Share> SharesByPolicy(const Catalog& catalog, const Registration& registration);

// May the caller own a new registration of the app at the server? The first policy of both that
// says something of it decides: nobody whom it denies, and whom it allows, or people if it does not
// say whom. Without any, people. Users of services only where they are named, and never the passing
// users of systemd's DynamicUser=. Errors: kEnrollmentNotAllowed, with the place that decides.
absl::Status CheckEnrollByPolicy(const Catalog& catalog, const Caller& caller,
                                 absl::string_view server_name, absl::string_view app_id);

// May he have one more than what `all` has of his? Errors: kTooManyRegistrations, with the policy.
absl::Status CheckCountByPolicy(const Catalog& catalog, const Caller& caller,
                                absl::string_view server_name, absl::string_view app_id,
                                const std::vector<RegistrationStore::Snapshot>& all);

}  // namespace smartkey
