// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "daemon/model/registration.h"

namespace smartkey {

// What the administrator says of whoever enrolls some apps at some servers: a [[policy]] block.
// Whom the lists are of are principals without terms: shares that allow nothing. Their users are
// known by name or number; the numbers of groups were looked up when the configuration was read.
struct Policy {
  std::vector<std::string> servers = {"*"};  // name globs (fnmatch), "*" = all
  std::vector<std::string> apps = {"*"};     // likewise, of ids

  // Who may own new registrations. Absent: people, who are those whose login has a shell.
  struct Allowed {
    bool people = false;
    std::vector<Share> principals;
  };
  absl::optional<Allowed> allow_enroll;
  std::vector<Share> deny_enroll;  // not even if allowed

  int max_registrations_per_owner = 0;                 // 0: not said
  absl::Duration max_idle = absl::InfiniteDuration();  // suspended when unused for so long
  std::vector<Share> shares;                           // of every registration that it is of
  std::string place;                                   // "file:line"

  bool IsOf(absl::string_view server_name, absl::string_view app_id) const;
  // Whether it says who may enroll.
  bool DecidesEnrollment() const { return allow_enroll.has_value() || !deny_enroll.empty(); }

  bool operator==(const Policy&) const;
};

}  // namespace smartkey
