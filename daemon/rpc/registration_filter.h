// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/model/registration.h"
#include "daemon/token/standing.h"
#include "smartkey/v1/registration.pb.h"

namespace smartkey {

// Whether a registration is one of those that a list or a watch asks for: everything given must
// fit, as it stands now. Says nothing about who may see it.
bool FitsFilter(const Registration& registration, const v1::RegistrationFilter& filter,
                const Standings& standings);

}  // namespace smartkey
