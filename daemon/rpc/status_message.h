// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/model/config_reload.h"
#include "daemon/rpc/services.h"
#include "daemon/store/store_maintenance.h"
#include "smartkey/v1/admin.pb.h"

namespace smartkey {

// How the daemon does: what GetStatus answers, and what metrics and diagnostics are made from.
// Waits for nothing.
void FillStatus(const ServiceParts& parts, v1::GetStatusResponse* response);

void FillProblem(const ConfigProblem& problem, bool file_disabled, v1::ConfigProblem* message);
void FillCopy(const StoreCopy& copy, v1::StoreCopy* message);

}  // namespace smartkey
