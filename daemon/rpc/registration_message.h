// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/access/access_policy.h"
#include "daemon/model/registration.h"
#include "daemon/token/standing.h"
#include "smartkey/v1/registration.pb.h"

namespace smartkey {

// A registration as it is shown to the caller, by the right that he has to it. An administrator is
// shown neither patient, user nor label: those may say who a patient is. Who may only use it is
// shown neither its key and client id nor who else may.
void FillRegistration(const Registration& registration, const Caller& caller,
                      const AccessPolicy& access, const Standings& standings,
                      v1::Registration* message);

void FillShare(const Share& share, v1::Share* message);

// OPERATION_UNSPECIFIED, and nullopt, for what the other side does not have.
v1::Operation ToProto(Operation operation);
absl::optional<Operation> FromProto(v1::Operation operation);

// Numbers agree with the proto's.
v1::Warning ToProto(RegistrationWarning warning);

}  // namespace smartkey
