// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "smartkey/v1/error.pb.h"

namespace smartkey {

// From the daemon's errors to the wire. base/error.h has the one table of reasons; this file only
// packs.
//
// On the wire: gRPC code and message (at most 256 bytes, printable), and in
// `grpc-status-details-bin` a google.rpc.Status with one Any of smartkey.v1.ErrorDetail (at most 2
// KiB; 9 KB would turn into another error at the client). Texts of servers stand last in a message,
// so that they are what is cut. Pure functions; OK stays OK.

grpc::Status ToGrpcStatus(const absl::Status& status);

// The same as a message's field, for states that have a cause. `status` must not be OK.
v1::ErrorDetail ToErrorDetail(const absl::Status& status);

}  // namespace smartkey
