// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret.h"

namespace smartkey {

// The PIN that is in a file, without the line's end. Read anew each time: the administrator may
// have changed it. Errors: kPinMissing (no such file, unreadable, or empty), kConfigInvalid (no
// regular file, too long, or others than its owner may read it; the remedy says how to mend that).
absl::StatusOr<Secret> ReadPinFile(const std::string& path);

// True if anybody beside root and `reader` is allowed to read a file of this owner and mode.
// `access_acl` is its access list (base/access_list.h), empty if it has none: a credential of
// systemd belongs to root and is opened to the service's user by an access list, whose mask then
// stands in the mode where the group's bits were. Pure function.
bool OthersMayRead(uid_t owner, mode_t mode, absl::string_view access_acl, uid_t reader);

}  // namespace smartkey
