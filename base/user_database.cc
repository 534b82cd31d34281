// SPDX-License-Identifier: Apache-2.0
#include "base/user_database.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr size_t kMaxGroups = 65536;       // as many as the kernel takes (NGROUPS_MAX)
constexpr size_t kMaxEntry = 1024 * 1024;  // a group may list thousands of members

// What sources of the database return beside 0 for what they do not have: getpwuid_r(3), ERRORS.
// Anything else is trouble on the way to an answer.
bool MeansNoSuchEntry(int error) {
  return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

// `get(entry, buffer, size, found)` is one of the get..._r functions with its key; gives what
// `take` reads from the entry, or nullopt.
template <class Entry, class Get, class Take>
auto LookUp(const std::string& what, Get get, Take take)
    -> absl::StatusOr<absl::optional<decltype(take(Entry()))>> {
  using Taken = absl::optional<decltype(take(Entry()))>;
  std::string buffer(1024, '\0');
  while (true) {
    Entry entry{};
    Entry* found = nullptr;
    const int error = get(&entry, buffer.data(), buffer.size(), &found);
    if (error == 0 && found != nullptr) return Taken(take(*found));
    if (MeansNoSuchEntry(error)) return Taken();
    if (error != ERANGE || buffer.size() >= kMaxEntry) {
      return MakeError(Reason::kNotReady, absl::StrCat("looking up ", what,
                                                       " in the user database: ", strerror(error)));
    }
    buffer.resize(buffer.size() * 4);
  }
}

}  // namespace

absl::StatusOr<UserEntry> LookUpUserEntry(uid_t uid, GetPwUid get) {
  const auto entry = LookUp<passwd>(
      absl::StrCat("uid ", uid),
      [&](passwd* entry, char* buffer, size_t size, passwd** found) {
        return get(uid, entry, buffer, size, found);
      },
      [](const passwd& entry) {
        return UserEntry{entry.pw_name, entry.pw_shell != nullptr ? entry.pw_shell : "",
                         entry.pw_gid};
      });
  if (!entry.ok()) return entry.status();
  return entry->value_or(UserEntry());
}

bool IsLoginShell(const std::string& shell) {
  const std::string program = shell.substr(shell.rfind('/') + 1);
  for (const char* none : {"nologin", "false", "true", "sync", "halt", "shutdown"}) {
    if (program == none) return false;
  }
  return true;  // an empty one is /bin/sh: passwd(5)
}

std::vector<gid_t> LookUpGroupsOf(const UserEntry& user) {
  std::vector<gid_t> groups(64);
  while (true) {
    int count = static_cast<int>(groups.size());
    const bool fits = getgrouplist(user.name.c_str(), user.gid, groups.data(), &count) >= 0;
    if (!fits && groups.size() < kMaxGroups) {
      groups.resize(groups.size() * 4);
      continue;
    }
    groups.resize(fits ? static_cast<size_t>(count) : groups.size());
    return groups;
  }
}

absl::StatusOr<absl::optional<uid_t>> LookUpUser(const std::string& name) {
  return LookUp<passwd>(
      "a user",
      [&](passwd* entry, char* buffer, size_t size, passwd** found) {
        return getpwnam_r(name.c_str(), entry, buffer, size, found);
      },
      [](const passwd& entry) { return entry.pw_uid; });
}

absl::StatusOr<absl::optional<gid_t>> LookUpGroup(const std::string& name) {
  return LookUp<group>(
      "a group",
      [&](group* entry, char* buffer, size_t size, group** found) {
        return getgrnam_r(name.c_str(), entry, buffer, size, found);
      },
      [](const group& entry) { return entry.gr_gid; });
}

absl::StatusOr<std::string> LookUpGroupName(gid_t gid) {
  const absl::StatusOr<absl::optional<std::string>> name = LookUp<group>(
      "a group",
      [&](group* entry, char* buffer, size_t size, group** found) {
        return getgrgid_r(gid, entry, buffer, size, found);
      },
      [](const group& entry) { return std::string(entry.gr_name); });
  if (!name.ok()) return name.status();
  return name->value_or("");
}

}  // namespace smartkey
