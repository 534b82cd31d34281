// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/model/caller.h"
#include "daemon/model/registration.h"
#include "daemon/token/standing.h"
#include "smartkey/v1/registration.pb.h"

namespace smartkey {

// A registration as `caller`, who may see it, sees it. An administrator is shown neither patient,
// user nor label: those may say who a patient is.
void FillRegistration(const Registration& registration, const Caller& caller,
                      const Standings& standings, v1::Registration* message);

// Numbers agree with the proto's.
v1::Warning ToProto(RegistrationWarning warning);

}  // namespace smartkey
