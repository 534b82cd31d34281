// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/repeated_ptr_field.h>
#include <google/protobuf/timestamp.pb.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "daemon/model/access_token.h"
#include "daemon/rpc/pending_call.h"
#include "hsm/key_types.h"

namespace smartkey {

// What several services need to translate between the proto and the daemon's types.

// How long a call may take: what is left of the client's deadline, but never longer than `limit`.
absl::Duration TimeLeft(const grpc::CallbackServerContext& context, absl::Duration limit);

// Times that are not known (InfinitePast, InfiniteFuture) leave the field absent.
template <class Message>
void SetTime(absl::Time time, Message* message, google::protobuf::Timestamp* (Message::*field)()) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
  google::protobuf::Timestamp* timestamp = (message->*field)();
  timestamp->set_seconds(absl::ToUnixSeconds(time));
  timestamp->set_nanos(static_cast<int32_t>((time - absl::FromUnixSeconds(timestamp->seconds())) /
                                            absl::Nanoseconds(1)));
}

void SetDuration(absl::Duration duration, google::protobuf::Duration* message);

// Errors: kInvalidArgument for a negative or malformed one.
absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& duration);

// At most 64, of at most 256 bytes each. Errors: kInvalidArgument; also for what is no scope-token
// of RFC 6749 section 3.3.
absl::StatusOr<ScopeSet> ScopesFromProto(
    const google::protobuf::RepeatedPtrField<std::string>& scopes);

// For what a call keeps for as long as it is open: its request, whatever stands in it. Errors:
// kInvalidArgument beyond 20 KiB, which is more than the longest scopes and names.
absl::Status CheckKeptRequest(const google::protobuf::Message& request);

// Empty means "not given". Errors: kInvalidArgument for a name that is none.
absl::StatusOr<absl::optional<SignatureAlgorithm>> AlgorithmFromProto(const std::string& name);

absl::Status NotImplemented(absl::string_view method);

// Answers of methods that exist only in the proto so far.
grpc::ServerUnaryReactor* FailNotImplemented(grpc::CallbackServerContext* context,
                                             absl::string_view method);

}  // namespace smartkey
