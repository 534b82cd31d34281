// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

#include "absl/types/optional.h"
#include "base/service_user.h"
#include "base/user_database.h"

namespace smartkey {

// Whose the files of a configuration may be, and whether the service can read them. Whoever can
// write one decides where tokens are asked for, and who may have them.

// Why a file or directory of these permissions and this access list (base/access_list.h) is not to
// be trusted, with the command that mends it; empty: it may be. Only root, the service's own user
// and their groups may write it; where a list says who may, only the two users.
std::string WhyNotTrusted(const std::string& path, const struct stat& info,
                          const absl::optional<std::string>& list, const ServiceUser& user);

// The same of the directory that a file is in: whoever may write it, or owns it, could put another
// file in this one's place. In a sticky one, as /tmp, only its owner could. There is a command only
// for the packages' own directory and those in it; others are somebody's. Empty, too, where it
// cannot be looked at: opening the file says why.
std::string WhyFolderNotTrusted(const std::string& folder, const ServiceUser& user);

// Why another user than this process's could not read the file, or list the directory, as owner,
// groups and modes have it, with the command that mends it; empty: it can, or it cannot be told (an
// access list, no such file). Looks at the directories above, too; of those it gives a command only
// for the packages' own.
std::string WhyNotReadable(const std::string& path, const ServiceUser& user);

// Why this process could not open a file, or list a directory: `error` is what errno said. Where a
// directory above is closed to it, that is named, since nothing done to the file would help. No
// command unless RunsAsService().
std::string WhyNotOpened(const std::string& path, int error, bool is_directory,
                         const ServiceUser& user, const UserDatabase& users);

}  // namespace smartkey
