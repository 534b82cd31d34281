// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/time/time.h"
#include "daemon/model/caller.h"
#include "daemon/model/registration.h"
#include "smartkey/v1/registration.pb.h"

namespace smartkey {

// A registration as `caller`, who may see it, sees it. An administrator is shown neither patient,
// user nor label: those may say who a patient is. `now` is for what depends on the time: an expected
// end that is outlived is none.
void FillRegistration(const Registration& registration, const Caller& caller, absl::Time now,
                      v1::Registration* message);

}  // namespace smartkey
