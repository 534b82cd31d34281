// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "daemon/model/audit_entry.h"

namespace smartkey {

// Checks the files in `directory` from the oldest line to `written`, the head that was written
// last: the chain, the signatures of its checkpoints, and, with an anchor, that it is still the
// log that had that head. Blocks on the disk. Errors: kStoreUnavailable for a file that cannot be
// read; everything else is a finding.
absl::StatusOr<AuditVerification> CheckAuditFiles(const std::string& directory,
                                                  const AuditHead& written,
                                                  const absl::optional<AuditHead>& anchor);

}  // namespace smartkey
