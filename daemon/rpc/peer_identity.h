// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/unique_fd.h"
#include "base/user_database.h"
#include "daemon/model/caller.h"

namespace smartkey {

// Who is at the other end of a unix socket. Two steps, because they belong on different threads:
// what the kernel hands out for the socket itself (getsockopt, on the accept thread), and what has
// to be looked up in /proc and the user database (may take as long as LDAP takes, never on the
// accept thread).
//
// Nothing here trusts the process: no executable path, no user's own systemd unit, nothing it could
// have written. Whatever cannot be read counts against the caller.

// What the kernel noted when the connection was made; socket(7), unix(7).
struct PeerCredentials {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;
  std::vector<gid_t> groups;
  UniqueFd pidfd;         // SO_PEERPIDFD (Linux 6.5); none on older kernels
  bool vanished = false;  // the kernel can hold callers, and could not hold this one
  BootTime accepted;
};

// Reads them from a connected stream socket; does not block. Without `hold` no pidfd is taken, as
// on an older kernel. Errors: kCallerUnidentified when the kernel says nothing, not even which
// groups (what is denied to one of them would be allowed); or uid 65534 or -1: every user looks
// like that from a user namespace without a mapping, so they would all be one owner.
absl::StatusOr<PeerCredentials> ReadPeerCredentials(int socket, BootTime now, bool hold = true);

using UserLookup = std::function<absl::StatusOr<UserEntry>(uid_t)>;

// Looks a caller up. Thread-safe if `user` is; constant after construction.
class PeerIdentifier {
 public:
  // `proc` is where procfs is mounted; tests give a directory and a user database of their own.
  explicit PeerIdentifier(
      std::string proc = "/proc", UserLookup user = [](uid_t uid) { return LookUpUserEntry(uid); })
      : proc_(std::move(proc)), user_(std::move(user)) {}

  // May block on the user database. What is not known stays empty, and `in_container` is true
  // unless the process was seen to live in the host's namespaces while it was certainly the one
  // that connected. `admin` is left false. Errors: those of the lookup; a caller without a name
  // would be taken for somebody whom the system does not know, for as long as it stays connected.
  absl::StatusOr<Caller> Identify(const PeerCredentials& peer) const;

  // A first look, for whose limits the connection counts against: whether the process seems to
  // live in another pid namespace, or cannot be seen. Reads one file of /proc.
  bool SeemsContained(const PeerCredentials& peer) const;

  // True if uids mean in this process what they mean on the host. The daemon refuses to start
  // otherwise.
  bool OwnUidMapIsIdentity() const;

 private:
  struct Observation;

  Observation Observe(pid_t pid) const;
  absl::optional<std::string> ReadFile(absl::string_view name) const;

  const std::string proc_;
  const UserLookup user_;
};

// The parsers behind it; pure functions on the text of files in /proc/PID.

// uid_map: one line that maps all 2^32 - 1 uids onto themselves (user_namespaces(7)).
bool IsIdentityUidMap(absl::string_view uid_map);

// status: how many pid namespaces deep the process is, from its `NSpid:` line; 1 on the host.
// Absent when there is no such line.
absl::optional<int> NamespaceDepth(absl::string_view status);

// status: true if `uid` is one of the process's four uids.
bool HasUid(absl::string_view status, uid_t uid);

// cgroup: "viewer.service" for a process of a *system* unit, empty for all else. Reads cgroup v2
// ("0::/path") and v1 ("1:name=systemd:/path"). Units under user.slice do not count: their users
// make them.
std::string SystemUnitFromCgroup(absl::string_view cgroup);

// cgroup: whether it is one of the user's sessions, or of what systemd runs for him.
bool IsInSliceOfUser(absl::string_view cgroup, uid_t uid);

// loginuid: who logged in; absent for nobody (4294967295), or when malformed.
absl::optional<uid_t> LoginUid(absl::string_view loginuid);

// stat: when the process started, in clock ticks since boot (field 22). Absent when malformed.
absl::optional<uint64_t> StartTicks(absl::string_view stat);

}  // namespace smartkey
