// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/principal.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/access/share_rules.h"

namespace smartkey {
namespace {

constexpr size_t kMaxText = 512;
constexpr uid_t kOverflowUid = 65534;  // whoever has no meaning on this system
constexpr uid_t kAnyUid = 4294967294;  // the last one; given to nobody

// What useradd(8) and systemd take for users and groups, and domain users such as "CLINIC\\bob" or
// "bob@clinic.example".
bool IsAccountName(absl::string_view name) {
  return !name.empty() && name.size() <= 256 && !absl::StartsWith(name, "-") &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains("._-@\\$", c) || static_cast<unsigned char>(c) >= 0x80;
         });
}

// systemd.unit(5).
bool IsServiceUnit(absl::string_view name) {
  return absl::EndsWith(name, ".service") && name.size() > sizeof(".service") - 1 &&
         name.size() < 256 && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains(":-_.\\@", c);
         });
}

absl::Status Malformed(absl::string_view why) {
  return MakeError(Reason::kInvalidArgument, absl::StrCat("the principal: ", why));
}

absl::Status AddPart(absl::string_view part, Principal& principal) {
  const std::vector<absl::string_view> split = absl::StrSplit(part, absl::MaxSplits(':', 1));
  if (split.size() != 2) {
    return Malformed("write user:NAME, uid:N, group:NAME or unit:NAME.service");
  }
  const absl::string_view kind = split[0], value = split[1];
  if (kind == "user" || kind == "group") {
    if (!IsAccountName(value)) return Malformed("that is no name of a user or group");
    std::string& field = kind == "user" ? principal.user : principal.group;
    if (!field.empty()) return Malformed("one user and one group at most");
    field = std::string(value);
  } else if (kind == "uid") {
    uint32_t uid = 0;
    if (!absl::SimpleAtoi(value, &uid) || uid == std::numeric_limits<uint32_t>::max() ||
        uid == kOverflowUid || value != absl::StrCat(uid)) {
      return Malformed("a uid is a number below 4294967295, and not 65534");
    }
    if (principal.uid.has_value()) return Malformed("one uid at most");
    principal.uid = uid;
  } else if (kind == "unit") {
    if (!IsServiceUnit(value)) return Malformed("a unit is a system service: NAME.service");
    if (!principal.unit.empty()) return Malformed("one unit at most");
    principal.unit = std::string(value);
  } else {
    return Malformed("write user:NAME, uid:N, group:NAME or unit:NAME.service");
  }
  return absl::OkStatus();
}

absl::Status Unknown(absl::string_view what) {
  return MakeError(Reason::kUnknownPrincipal, absl::StrCat("this machine knows no such ", what));
}

}  // namespace

absl::StatusOr<Principal> ParsePrincipal(absl::string_view text) {
  if (text.empty()) return Malformed("it is missing");
  if (text.size() > kMaxText) return Malformed("it is too long");
  Principal principal;
  for (absl::string_view part : absl::StrSplit(text, '+')) {
    if (absl::Status status = AddPart(part, principal); !status.ok()) return status;
  }
  if (!principal.user.empty() && principal.uid.has_value()) {
    return Malformed("a user or a uid, not both");
  }
  return principal;
}

std::string ToString(const Principal& principal) {
  std::vector<std::string> parts;
  if (!principal.user.empty()) parts.push_back(absl::StrCat("user:", principal.user));
  if (principal.uid.has_value()) parts.push_back(absl::StrCat("uid:", *principal.uid));
  if (!principal.group.empty()) parts.push_back(absl::StrCat("group:", principal.group));
  if (!principal.unit.empty()) parts.push_back(absl::StrCat("unit:", principal.unit));
  return absl::StrJoin(parts, "+");
}

absl::StatusOr<Share> Resolve(const Principal& principal, const UserDatabase& users) {
  Share share;
  share.principal = ToString(principal);
  share.unit = principal.unit;
  absl::optional<uid_t> uid = principal.uid;
  if (!principal.user.empty()) {
    const absl::StatusOr<absl::optional<uid_t>> found = users.find_user(principal.user);
    if (!found.ok()) return found.status();
    if (!found->has_value()) return Unknown("user");
    uid = **found;
    if (*uid == kOverflowUid) return Malformed("uid 65534 is whoever has no meaning here");
  }
  if (uid.has_value()) {
    // The name that callers with this uid come with, which another source may spell otherwise.
    absl::StatusOr<UserEntry> entry = users.entry_of(*uid);
    if (!entry.ok()) return entry.status();
    share.uid = *uid;
    share.user_name = std::move(entry->name);
  }
  if (!principal.group.empty()) {
    const absl::StatusOr<absl::optional<gid_t>> found = users.find_group(principal.group);
    if (!found.ok()) return found.status();
    if (!found->has_value()) return Unknown("group");
    share.gid = **found;
  }
  return share;
}

absl::StatusOr<Caller> CallerNamed(const std::string& user_name, const UserDatabase& users) {
  const absl::StatusOr<absl::optional<uid_t>> uid = users.find_user(user_name);
  if (!uid.ok()) return uid.status();
  if (!uid->has_value()) return Unknown("user");
  if (**uid == kOverflowUid) return Malformed("uid 65534 is whoever has no meaning here");
  absl::StatusOr<UserEntry> entry = users.entry_of(**uid);
  if (!entry.ok()) return entry.status();
  if (entry->name.empty()) return Unknown("user");
  Caller caller;
  caller.uid = **uid;
  caller.gid = entry->gid;
  caller.groups = users.groups_of(*entry);
  caller.has_login_shell = IsLoginShell(entry->shell);
  // As other callers with this uid come, whatever the name that was typed.
  caller.user_name = std::move(entry->name);
  return caller;
}

Share ConfiguredShare(const Principal& principal, std::string place, const UserDatabase& users) {
  Share share;
  share.principal = ToString(principal);
  share.user_name = principal.user;
  if (principal.uid.has_value()) share.uid = *principal.uid;
  share.unit = principal.unit;
  if (!principal.group.empty()) {
    const absl::optional<gid_t> gid =
        users.find_group(principal.group).value_or(absl::optional<gid_t>());
    share.gid = gid.has_value() ? int64_t{*gid} : kUnknownGid;
    if (!gid.has_value()) {
      Log(LogLevel::kWarning,
          "a group in the configuration is not to be found: nobody is in it until it is and the "
          "configuration is reloaded",
          {{"group", principal.group}, {"place", place}});
    }
  }
  share.policy = std::move(place);
  return share;
}

Share ConfiguredDenial(const Principal& principal, std::string place, const UserDatabase& users) {
  Share denied = ConfiguredShare(principal, place, users);
  if (principal.user.empty()) return denied;
  const absl::optional<uid_t> uid =
      users.find_user(principal.user).value_or(absl::optional<uid_t>());
  denied.uid = uid.has_value() ? int64_t{*uid} : kUnknownUid;
  if (!uid.has_value()) {
    Log(LogLevel::kWarning,
        "a user whom the configuration denies is not to be found: nobody is let in there until he "
        "is and the configuration is reloaded",
        {{"user", principal.user}, {"place", place}});
  }
  return denied;
}

Share ShareFor(const Caller& caller) {
  Share share;
  Principal principal;
  // A name that cannot be written as a principal could not be taken back under it.
  if (IsAccountName(caller.user_name)) {
    principal.user = caller.user_name;
  } else {
    principal.uid = caller.uid;
  }
  share.principal = ToString(principal);
  share.uid = caller.uid;
  share.user_name = caller.user_name;
  return share;
}

Caller CallerLike(const Share& resolved, bool pid_pinned) {
  Caller caller;
  caller.uid = kAnyUid;
  caller.user_name = "any user";  // a space is in no user's name
  if (resolved.uid >= 0) {
    caller.uid = static_cast<uid_t>(resolved.uid);
    caller.user_name = resolved.user_name;
  }
  if (resolved.gid >= 0) caller.gid = static_cast<gid_t>(resolved.gid);
  caller.system_unit = resolved.unit;
  caller.pid_pinned = pid_pinned;
  return caller;
}

}  // namespace smartkey
