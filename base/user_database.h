// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"

namespace smartkey {

// The system's users and groups, wherever nsswitch.conf(5) says they are. Each call may take as
// long as LDAP does: never on a thread that others wait for. Thread-safe. Errors: kNotReady when
// the database does not answer, which says nothing about who is in it.

// What passwd(5) says of a user.
struct UserEntry {
  std::string name;   // empty: the system knows no such user
  std::string shell;  // of its login
  gid_t gid = 0;      // its first group
};

// `get` is getpwuid_r, or a test's own.
using GetPwUid = int (*)(uid_t, passwd*, char*, size_t, passwd**);
absl::StatusOr<UserEntry> LookUpUserEntry(uid_t uid, GetPwUid get = getpwuid_r);

// Whether somebody can log in with it, as people do and the users of services do not: false for
// nologin(8), false(1) and the like, wherever they are.
bool IsLoginShell(const std::string& shell);

// All groups of a user, the first one among them; at most 65536.
std::vector<gid_t> LookUpGroupsOf(const UserEntry& user);

// nullopt: there is none of that name.
absl::StatusOr<absl::optional<uid_t>> LookUpUser(const std::string& name);
absl::StatusOr<absl::optional<gid_t>> LookUpGroup(const std::string& name);
// Empty: there is none with that number.
absl::StatusOr<std::string> LookUpGroupName(gid_t gid);

// The same as something that can be handed over; a test has its own.
struct UserDatabase {
  std::function<absl::StatusOr<UserEntry>(uid_t)> entry_of = [](uid_t uid) {
    return LookUpUserEntry(uid);
  };
  std::function<std::vector<gid_t>(const UserEntry&)> groups_of = LookUpGroupsOf;
  std::function<absl::StatusOr<absl::optional<uid_t>>(const std::string&)> find_user = LookUpUser;
  std::function<absl::StatusOr<absl::optional<gid_t>>(const std::string&)> find_group = LookUpGroup;
  std::function<absl::StatusOr<std::string>(gid_t)> name_of_group = LookUpGroupName;
};

}  // namespace smartkey
