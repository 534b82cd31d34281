// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/optional.h"

namespace smartkey {

// The local process at the other end of one connection, as the kernel attested it when the
// connection was made. A connected socket given to another process speaks for whoever connected.
struct Caller {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;     // supplementary groups
  std::string user_name;         // of `uid` now; empty when the system knows no such user
  bool has_login_shell = false;  // somebody can log in as this user, as people do

  // A system unit ("viewer.service"), read from the caller's cgroup; empty for everything else.
  // Counts alone only when `pid_pinned`, since a pid may have been recycled otherwise.
  std::string system_unit;
  bool pid_pinned = false;  // SO_PEERPIDFD held the process while it was looked at

  // Another pid or user namespace: uids do not mean what they mean on the host.
  bool in_container = false;

  // Whose limits he counts against: his uid's, or those of the same uid in containers. Whoever
  // builds a container chooses its uids, and is not to use up what their namesakes outside may do.
  uint64_t account() const { return uint64_t{uid} | (in_container ? uint64_t{1} << 32 : 0); }

  // Came through the admin socket and may administer (root or a member of the admin group).
  bool admin = false;

  // As whom the person logged in whose process this is; the kernel keeps that over su and sudo
  // (/proc/PID/loginuid), and systemd's slice of that user bears it out. Absent: nobody logged in,
  // or not known. For the audit log.
  absl::optional<uid_t> login_uid;
  std::string login_name;

  // An observation for the audit log; never a reason to allow anything. The executable's path, or
  // "[name]" where that cannot be read: the name that the process goes by, and may have given to
  // itself.
  std::string observed_executable;
};

}  // namespace smartkey
