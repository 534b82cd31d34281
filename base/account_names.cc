// SPDX-License-Identifier: Apache-2.0
#include "base/account_names.h"

#include "absl/strings/str_cat.h"
#include "base/user_database.h"

namespace smartkey {

std::string UserNameOf(uid_t uid) {
  const absl::StatusOr<UserEntry> entry = LookUpUserEntry(uid);
  return entry.ok() && !entry->name.empty() ? entry->name : absl::StrCat(uid);
}

std::string GroupNameOf(gid_t gid) {
  const absl::StatusOr<std::string> name = LookUpGroupName(gid);
  return name.ok() && !name->empty() ? *name : absl::StrCat(gid);
}

}  // namespace smartkey
