// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "daemon/access/audit_log.h"
#include "daemon/access/share_rules.h"
#include "daemon/model/caller.h"
#include "smartkey/v1/sharing.pb.h"

namespace smartkey {

// What several messages of the SharingService say of a share.

// Errors: kInvalidArgument for one that this version does not know.
absl::StatusOr<OperationSet> OperationsFromProto(
    const google::protobuf::RepeatedField<int>& operations);

// A share of the caller's making that allows what is said, to nobody yet; no operations where none
// are given. Errors: kInvalidArgument for operations, scopes and lengths of time that cannot be.
absl::StatusOr<Share> ShareTermsFromProto(const v1::ShareRegistrationRequest& request,
                                          const Caller& maker, absl::Time now);
absl::StatusOr<Share> ShareTermsFromProto(const v1::ResolveAccessRequestRequest& request,
                                          const Caller& maker, absl::Time now);

// Tells the audit log, and in words the journal, that `caller` has changed a share or what leads to
// one. The scopes themselves are not told: they may name a patient.
void NoteShare(AuditLog& audit, absl::string_view operation, absl::string_view words,
               const std::string& registration, const Share& share, const Caller& caller);

}  // namespace smartkey
