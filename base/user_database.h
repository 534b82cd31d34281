// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"

namespace smartkey {

// The system's users and groups, wherever nsswitch.conf(5) says they are. Each call may take as
// long as LDAP does: never on a thread that others wait for. Thread-safe. Errors: kNotReady when
// the database does not answer, which says nothing about who is in it.

// The name of `uid` now; empty when the system knows no such user. `get` is getpwuid_r, or a test's
// own.
using GetPwUid = int (*)(uid_t, passwd*, char*, size_t, passwd**);
absl::StatusOr<std::string> LookUpUserName(uid_t uid, GetPwUid get = getpwuid_r);

// nullopt: there is none of that name.
absl::StatusOr<absl::optional<uid_t>> LookUpUser(const std::string& name);
absl::StatusOr<absl::optional<gid_t>> LookUpGroup(const std::string& name);

// The same as something that can be handed over; a test has its own.
struct UserDatabase {
  std::function<absl::StatusOr<std::string>(uid_t)> name_of = [](uid_t uid) {
    return LookUpUserName(uid);
  };
  std::function<absl::StatusOr<absl::optional<uid_t>>(const std::string&)> find_user = LookUpUser;
  std::function<absl::StatusOr<absl::optional<gid_t>>(const std::string&)> find_group = LookUpGroup;
};

}  // namespace smartkey
