// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/user_database.h"

namespace smartkey {

// The user smartkeyd is in its own group only, as the packages make it; tss and smartkey-admin are
// there.
inline UserDatabase PackagedUsers() {
  UserDatabase users;
  users.find_user = [](const std::string& name) -> absl::optional<uid_t> {
    return name == "smartkeyd" ? absl::optional<uid_t>(60001) : absl::nullopt;
  };
  users.entry_of = [](uid_t uid) {
    return uid == 60001 ? UserEntry{"smartkeyd", "/usr/sbin/nologin", 60002} : UserEntry();
  };
  users.groups_of = [](const UserEntry& user) { return std::vector<gid_t>{user.gid}; };
  users.find_group = [](const std::string& name) -> absl::optional<gid_t> {
    if (name == "tss") return 60005;
    if (name == "smartkey-admin") return 60006;
    return absl::nullopt;
  };
  return users;
}

}  // namespace smartkey
