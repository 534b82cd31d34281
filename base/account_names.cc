// SPDX-License-Identifier: Apache-2.0
#include "base/account_names.h"

#include <grp.h>

#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/user_database.h"

namespace smartkey {
namespace {

constexpr size_t kMaxEntry = 1024 * 1024;  // a group may list thousands of members

}  // namespace

std::string UserNameOf(uid_t uid) {
  const absl::StatusOr<UserEntry> entry = LookUpUserEntry(uid);
  return entry.ok() && !entry->name.empty() ? entry->name : absl::StrCat(uid);
}

std::string GroupNameOf(gid_t gid) {
  std::vector<char> buffer(4096);
  group entry = {};
  group* found = nullptr;
  while (getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) == ERANGE &&
         buffer.size() < kMaxEntry) {
    buffer.resize(buffer.size() * 4);
  }
  return found != nullptr ? entry.gr_name : absl::StrCat(gid);
}

}  // namespace smartkey
