// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_callback.h>

#include "daemon/rpc/services.h"
#include "smartkey/v1/audit.pb.h"

namespace smartkey {

// The audit log for a caller, as a stream: everything for an administrator, for others what is
// about registrations that they may manage; or, for an administrator, how a check of the chain
// came out. `parts` outlives the call.
grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* StreamAuditLog(
    const ServiceParts& parts, const Caller& caller, const v1::ReadAuditLogRequest& request);

}  // namespace smartkey
