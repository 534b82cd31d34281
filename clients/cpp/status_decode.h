// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "smartkey/types.h"

namespace grpc {
class Status;
}
namespace smartkey::v1 {
class ErrorDetail;
}

namespace smartkey::client {

// Reads a failed call back into the status that the daemon made: its reason, remedy and retry-after
// from the one ErrorDetail in `grpc-status-details-bin`. A reason that this build does not know
// becomes the nearest one for the code, with the daemon's own remedy. OK stays OK.
absl::Status DecodeStatus(const grpc::Status& status);

// True if the daemon itself said so, false if the transport did.
bool HasErrorDetail(const grpc::Status& status);

Cause DecodeCause(const v1::ErrorDetail& detail);

// What a call that never got the daemon's answer (UNAVAILABLE without a detail) means, found out by
// looking at the socket: kDaemonNotInstalled, kDaemonNotRunning, kNotPermitted, or kShuttingDown
// when somebody does listen there and the connection broke.
absl::Status ExplainUnreachable(absl::string_view socket_path);

}  // namespace smartkey::client
