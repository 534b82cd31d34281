// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_access.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/access_list.h"
#include "base/account_names.h"

namespace smartkey {
namespace {

constexpr char kPackagedFolder[] = "/etc/smartkeyd";

// rwx as three bits, of those of owner, group and others that count for the user.
mode_t BitsFor(const struct stat& info, const ServiceUser& user) {
  if (info.st_uid == user.uid) return info.st_mode >> 6 & 7;
  const bool is_member =
      std::find(user.groups.begin(), user.groups.end(), info.st_gid) != user.groups.end();
  return info.st_mode >> (is_member ? 3 : 0) & 7;
}

// An access list may allow what the mode does not say.
bool Lacks(const std::string& path, mode_t wanted, const ServiceUser& user, struct stat& info) {
  return stat(path.c_str(), &info) == 0 && (BitsFor(info, user) & wanted) != wanted &&
         AccessListOf(path) == "";
}

// Another directory is home or work of somebody, who would lose it by a command.
bool IsPackagedFolder(const std::string& folder) {
  const std::string whole = std::filesystem::path(folder).lexically_normal().string();
  return whole == kPackagedFolder || absl::StartsWith(whole, absl::StrCat(kPackagedFolder, "/"));
}

// The first directory on the way to a file that `is_closed`; empty: none.
template <class IsClosed>
std::string FirstAbove(const std::string& path, IsClosed is_closed) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  std::filesystem::path above;
  for (const std::filesystem::path& part : whole.parent_path()) {
    above /= part;
    if (is_closed(above.string())) return above.string();
  }
  return "";
}

// The command that lets the service read a file, and root alone write it.
std::string ReadableCommand(const std::string& path, bool is_directory, gid_t gid) {
  return absl::StrCat("chown root:", GroupNameOf(gid), " ", path, "; chmod ",
                      is_directory ? "750 " : "640 ", path);
}

std::string MayNotLookInto(const std::string& folder, uid_t uid, const std::string& remedy) {
  return absl::StrCat("cannot be read by ", UserNameOf(uid), ", which may not look into ", folder,
                      ": ", remedy);
}

std::string LetLookInto(const std::string& folder, gid_t gid) {
  if (IsPackagedFolder(folder)) return absl::StrCat("'", ReadableCommand(folder, true, gid), "'");
  return absl::StrCat("put it where smartkeyd may look, as into ", kPackagedFolder);
}

}  // namespace

std::string WhyNotTrusted(const std::string& path, const struct stat& info,
                          const absl::optional<std::string>& list, const ServiceUser& user) {
  const absl::optional<ForeignWriter> found = FindForeignWriter(path, info, list, user, "root");
  return found.has_value() ? absl::StrCat(found->why, ": '", found->command, "'") : "";
}

std::string WhyFolderNotTrusted(const std::string& folder, const ServiceUser& user) {
  struct stat info {};
  if (stat(folder.c_str(), &info) != 0) return "";
  if ((info.st_mode & S_ISVTX) != 0) info.st_mode &= ~static_cast<mode_t>(S_IWGRP | S_IWOTH);
  const absl::optional<ForeignWriter> found =
      FindForeignWriter(folder, info, AccessListOf(folder), user, "root");
  if (!found.has_value()) return "";
  return absl::StrCat(
      "its directory ", folder, " ", found->why, ": ",
      IsPackagedFolder(folder)
          ? absl::StrCat("'", found->command, "'")
          : absl::StrCat("put it into one that root alone may write, as ", kPackagedFolder));
}

std::string WhyNotReadable(const std::string& path, const ServiceUser& user) {
  if (user.uid == 0 || user.uid == geteuid()) return "";
  struct stat info {};
  const std::string closed =
      FirstAbove(path, [&](const std::string& above) { return Lacks(above, 1, user, info); });
  if (!closed.empty()) return MayNotLookInto(closed, user.uid, LetLookInto(closed, user.gid));
  if (stat(path.c_str(), &info) != 0) return "";
  const bool is_directory = S_ISDIR(info.st_mode);
  if (!Lacks(path, is_directory ? 5 : 4, user, info)) return "";
  return absl::StrCat("cannot be read by ", UserNameOf(user.uid), ": '",
                      ReadableCommand(path, is_directory, user.gid), "'");
}

std::string WhyNotOpened(const std::string& path, int error, bool is_directory,
                         const ServiceUser& user, const UserDatabase& users) {
  const std::string why = absl::StrCat("cannot be read: ", strerror(error));
  if (error == ENOENT) {
    return absl::StrCat(why, ": write it, or name another one with --config");
  }
  if (error != EACCES) return why;
  const std::string closed =
      FirstAbove(path, [](const std::string& above) { return access(above.c_str(), X_OK) != 0; });
  // A command that opens it to anybody who asks could close it to the service.
  const bool is_service = RunsAsService(users);
  const std::string for_others =
      "look at it as root, or let the user that smartkeyd runs as read it";
  if (!closed.empty()) {
    return MayNotLookInto(closed, geteuid(),
                          is_service ? LetLookInto(closed, user.gid) : for_others);
  }
  return absl::StrCat(why, ": ",
                      is_service
                          ? absl::StrCat("'", ReadableCommand(path, is_directory, user.gid), "'")
                          : for_others);
}

}  // namespace smartkey
