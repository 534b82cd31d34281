// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "daemon/model/audit_entry.h"

namespace smartkey {

// A check of the files in a directory from the oldest line to the head that was written last: the
// chain, the signatures of its checkpoints, that no old file is gone which retention did not
// remove, and, with an anchor, that it is still the log that had that head. Behind a break it goes
// on: each part that fits among itself is checked. Blocks on the disk; used by one thread at a
// time.
class AuditCheck {
 public:
  struct Expected {
    AuditHead written;                 // what was written last
    absl::optional<AuditHead> anchor;  // a head that was kept elsewhere
    // Thumbprint of the key that signs now. Absent: not known, and nothing counts as signed.
    absl::optional<std::string> key;
  };
  AuditCheck(const std::string& directory, Expected expected);
  ~AuditCheck();

  // Checks one more file; false after the last one. A file that cannot be read is a finding.
  // Errors: kStoreUnavailable while this process has no descriptor or memory for one.
  absl::StatusOr<bool> CheckNext();

  // After the last one.
  AuditVerification End();

 private:
  class Core;
  const std::unique_ptr<Core> core_;
};

// All of it at once.
absl::StatusOr<AuditVerification> CheckAuditFiles(const std::string& directory,
                                                  AuditCheck::Expected expected);

}  // namespace smartkey
