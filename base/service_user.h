// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "base/user_database.h"

namespace smartkey {

// The user that smartkeyd runs as.
struct ServiceUser {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // `gid` among them

  // This process's. For root, who looks at a configuration and never serves, it is the user
  // smartkeyd; root where there is none.
  static ServiceUser Find(const UserDatabase& users = UserDatabase());

  // The one that a configuration is looked at for, which somebody else may do: his own where the
  // main file is his, otherwise the user smartkeyd, and again this process's where there is none.
  static ServiceUser FindToCheck(const std::string& main_file, const UserDatabase& users);

  // The user smartkeyd in the groups that the packaged unit puts it into; nullopt: there is none.
  static absl::optional<ServiceUser> FindPackaged(const UserDatabase& users);
};

// Whether this process is root's, or of the user smartkeyd. What anybody else may not read says
// nothing of the service.
bool RunsAsService(const UserDatabase& users);

// Somebody who could write a file, or change what is in a directory, and is neither root nor the
// service's user nor in a group of either.
struct ForeignWriter {
  std::string why;      // "belongs to alice, who could change it"
  std::string command;  // what ends it, for root to type
};

// The one there is for a file of these permissions and this access list (base/access_list.h).
// Absent: there is none; where a list says who may, only the two users may. `owner`: whom the
// command gives it to.
absl::optional<ForeignWriter> FindForeignWriter(const std::string& path, const struct stat& info,
                                                const absl::optional<std::string>& list,
                                                const ServiceUser& user, const std::string& owner);

}  // namespace smartkey
