// SPDX-License-Identifier: Apache-2.0
#include "base/service_user.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/access_list.h"
#include "base/account_names.h"

namespace smartkey {
namespace {

constexpr char kPackagedUser[] = "smartkeyd";
// SupplementaryGroups= of the unit: the process is in them, the user database need not know of it.
constexpr const char* kUnitGroups[] = {"tss", "smartkey-admin"};

}  // namespace

ServiceUser ServiceUser::Find(const UserDatabase& users) {
  const ServiceUser own{geteuid(), getegid(), {getegid()}};
  return own.uid == 0 ? FindPackaged(users).value_or(own) : own;
}

ServiceUser ServiceUser::FindToCheck(const std::string& main_file, const UserDatabase& users) {
  const ServiceUser own = Find(users);
  struct stat info {};
  const bool is_own = stat(main_file.c_str(), &info) == 0 && info.st_uid == own.uid;
  if (geteuid() == 0 || is_own) return own;
  return FindPackaged(users).value_or(own);
}

absl::optional<ServiceUser> ServiceUser::FindPackaged(const UserDatabase& users) {
  const auto uid = users.find_user(kPackagedUser);
  if (!uid.ok() || !uid->has_value()) return absl::nullopt;
  const auto entry = users.entry_of(**uid);
  if (!entry.ok() || entry->name.empty()) return absl::nullopt;
  ServiceUser user{**uid, entry->gid, users.groups_of(*entry)};
  for (const char* group : kUnitGroups) {
    const auto gid = users.find_group(group);
    if (gid.ok() && gid->has_value()) user.groups.push_back(**gid);
  }
  return user;
}

bool RunsAsService(const UserDatabase& users) {
  if (geteuid() == 0) return true;
  const auto entry = users.entry_of(geteuid());
  return entry.ok() && entry->name == kPackagedUser;
}

absl::optional<ForeignWriter> FindForeignWriter(const std::string& path, const struct stat& info,
                                                const absl::optional<std::string>& list,
                                                const ServiceUser& user, const std::string& owner) {
  if ((info.st_mode & S_IWOTH) != 0) {
    return ForeignWriter{"can be written by everybody", absl::StrCat("chmod o-w ", path)};
  }
  if (info.st_uid != 0 && info.st_uid != user.uid) {
    return ForeignWriter{
        absl::StrCat("belongs to ", UserNameOf(info.st_uid), ", who could change it"),
        absl::StrCat("chown ", owner, " ", path)};
  }
  if ((info.st_mode & S_IWGRP) == 0) return absl::nullopt;
  // With a list these bits are its mask, and the group's own are in it.
  if (list != "") {
    if (list.has_value() && !AccessListAllowsOthers(*list, S_IWOTH, user.uid)) return absl::nullopt;
    return ForeignWriter{"can be written by others, as its access list has it",
                         absl::StrCat("setfacl -b ", path)};
  }
  if (info.st_gid == 0 || info.st_gid == user.gid) return absl::nullopt;
  return ForeignWriter{absl::StrCat("can be written by the group ", GroupNameOf(info.st_gid)),
                       absl::StrCat("chmod g-w ", path)};
}

}  // namespace smartkey
