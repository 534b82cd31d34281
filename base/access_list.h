// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace smartkey {

// POSIX access lists (acl(5)): they let named users and groups have what the mode does not say.
// Where a file has one, the list's mask stands in the mode where the group's bits were.

// The list of a file, as the kernel hands it out; empty: it has none, or its file system knows
// none. nullopt: it cannot be read, or is longer than any that people write.
absl::optional<std::string> AccessListOf(int fd);
absl::optional<std::string> AccessListOf(const std::string& path);

// Whether a list that is not empty gives anybody beside the file's owner, root and `trusted` one of
// these permissions, which are those of a mode's last digit: 4 reads, 2 writes, 1 executes. The
// file's group counts as somebody else. True for what is no list. Pure function.
bool AccessListAllowsOthers(absl::string_view list, mode_t permissions, uid_t trusted);

}  // namespace smartkey
