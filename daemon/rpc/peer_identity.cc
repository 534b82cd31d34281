// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/peer_identity.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/log.h"

// Linux 6.5; Debian 12's headers are older.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace smartkey {
namespace {

constexpr uid_t kOverflowUid = 65534;  // /proc/sys/kernel/overflowuid; also Debian's "nobody"
constexpr size_t kMaxProcFile = 64 * 1024;

absl::optional<std::vector<gid_t>> PeerGroups(int socket) {
  std::vector<gid_t> groups(32);
  for (int attempt = 0; attempt < 2; ++attempt) {
    socklen_t size = groups.size() * sizeof(gid_t);
    const int rc = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    const size_t count = size / sizeof(gid_t);
    if (rc == 0) {
      groups.resize(count);
      return groups;
    }
    // ERANGE: `size` says how many there are (NGROUPS_MAX is 65536).
    if (errno != ERANGE || count <= groups.size()) break;
    groups.resize(count);
  }
  return absl::nullopt;
}

// False if the kernel could hold the process and does not, say because it has ended.
bool HoldPeer(int socket, UniqueFd& pidfd) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) != 0) {
    return errno == ENOPROTOOPT;  // before 6.5
  }
  pidfd = UniqueFd(fd);
  return true;
}

// A pidfd turns readable when its process ends (pidfd_open(2)). Needs no permission over the
// process.
bool IsRunning(const UniqueFd& pidfd) {
  pollfd poll_fd{pidfd.get(), POLLIN, 0};
  return poll(&poll_fd, 1, 0) == 0;
}

// The value of "Name:\t..." in /proc/PID/status.
absl::optional<absl::string_view> StatusLine(absl::string_view status, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (absl::ConsumePrefix(&line, name)) return line;
  }
  return absl::nullopt;
}

std::vector<absl::string_view> Words(absl::string_view text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
}

bool IsUnitName(absl::string_view name) {
  return !name.empty() && name.size() < 256 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(":-_.\\@", c);
  });
}

}  // namespace

absl::StatusOr<PeerCredentials> ReadPeerCredentials(int socket, BootTime now, bool hold) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
      size != sizeof credentials) {
    return MakeError(Reason::kCallerUnidentified, "the kernel does not say who is calling");
  }
  if (credentials.uid == kOverflowUid || credentials.uid == static_cast<uid_t>(-1)) {
    return MakeError(Reason::kCallerUnidentified, "the caller's uid has no meaning on this system");
  }
  PeerCredentials peer;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.pid = credentials.pid;
  absl::optional<std::vector<gid_t>> groups = PeerGroups(socket);
  if (!groups.has_value()) {
    // A caller with fewer groups than he has would get around what is denied to one of them.
    return MakeError(Reason::kCallerUnidentified,
                     "the kernel does not say which groups the caller has");
  }
  peer.groups = *std::move(groups);
  peer.vanished = hold && !HoldPeer(socket, peer.pidfd);
  peer.accepted = now;
  return peer;
}

struct PeerIdentifier::Observation {
  absl::optional<uint64_t> start_ticks;
  absl::optional<std::string> status, uid_map, cgroup, loginuid;
  std::string executable;
};

absl::StatusOr<Caller> PeerIdentifier::Identify(const PeerCredentials& peer) const {
  absl::StatusOr<UserEntry> user = user_(peer.uid);
  if (!user.ok()) return user.status();
  Caller caller;
  caller.uid = peer.uid;
  caller.gid = peer.gid;
  caller.pid = peer.pid;
  caller.groups = peer.groups;
  caller.has_login_shell = !user->name.empty() && IsLoginShell(user->shell);
  caller.user_name = std::move(user->name);
  caller.in_container = true;
  if (peer.pid <= 0) return caller;  // 0: a process outside our pid namespace
  if (peer.vanished) return caller;  // his pid may be another process's by now

  const Observation seen = Observe(peer.pid);

  // Was all of that about the process that connected, or has its pid gone to another one meanwhile?
  bool same = false;
  if (peer.pidfd) {
    caller.pid_pinned = same = IsRunning(peer.pidfd);
  } else if (seen.start_ticks.has_value() && seen.status.has_value()) {
    const absl::Duration started =
        absl::Seconds(1) * *seen.start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    same = started <= peer.accepted.SinceBoot() && HasUid(*seen.status, peer.uid) &&
           Observe(peer.pid).start_ticks == seen.start_ticks;
  }
  if (!same) return caller;

  caller.observed_executable = seen.executable;
  if (seen.loginuid.has_value() && seen.cgroup.has_value()) {
    // A process that nobody logged in to may set its loginuid once, to anything; but not go into
    // the slice of somebody's session.
    const absl::optional<uid_t> login = LoginUid(*seen.loginuid);
    if (login.has_value() && IsInSliceOfUser(*seen.cgroup, *login)) caller.login_uid = login;
  }
  if (caller.login_uid.has_value() && *caller.login_uid != caller.uid) {
    // For the audit log only: that the name is not known now keeps nobody out.
    absl::StatusOr<UserEntry> login = user_(*caller.login_uid);
    if (login.ok()) caller.login_name = std::move(login->name);
  }
  caller.in_container = !(seen.status.has_value() && NamespaceDepth(*seen.status) == 1 &&
                          seen.uid_map.has_value() && IsIdentityUidMap(*seen.uid_map));
  if (!caller.in_container && seen.cgroup.has_value()) {
    caller.system_unit = SystemUnitFromCgroup(*seen.cgroup);
  }
  return caller;
}

bool PeerIdentifier::SeemsContained(const PeerCredentials& peer) const {
  if (peer.pid <= 0 || peer.vanished) return true;
  const absl::optional<std::string> status = ReadFile(absl::StrCat(peer.pid, "/status"));
  return !status.has_value() || NamespaceDepth(*status) != 1;
}

bool PeerIdentifier::OwnUidMapIsIdentity() const {
  const absl::optional<std::string> map = ReadFile("self/uid_map");
  return map.has_value() && IsIdentityUidMap(*map);
}

PeerIdentifier::Observation PeerIdentifier::Observe(pid_t pid) const {
  Observation seen;
  if (const auto stat = ReadFile(absl::StrCat(pid, "/stat"))) seen.start_ticks = StartTicks(*stat);
  seen.status = ReadFile(absl::StrCat(pid, "/status"));
  seen.uid_map = ReadFile(absl::StrCat(pid, "/uid_map"));
  seen.cgroup = ReadFile(absl::StrCat(pid, "/cgroup"));
  seen.loginuid = ReadFile(absl::StrCat(pid, "/loginuid"));
  char link[4096];
  const ssize_t length = readlink(absl::StrCat(proc_, "/", pid, "/exe").c_str(), link, sizeof link);
  if (length > 0) {
    seen.executable.assign(link, length);
  } else if (const auto name = ReadFile(absl::StrCat(pid, "/comm"))) {
    // Other users' links are read with CAP_SYS_PTRACE only, which smartkeyd has not.
    seen.executable = absl::StrCat("[", Printable(absl::StripSuffix(*name, "\n")), "]");
  }
  return seen;
}

absl::optional<std::string> PeerIdentifier::ReadFile(absl::string_view name) const {
  const UniqueFd fd(open(absl::StrCat(proc_, "/", name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return absl::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < kMaxProcFile) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::nullopt;
    if (n == 0) return text;
    text.append(buffer, n);
  }
  return absl::nullopt;
}

bool IsIdentityUidMap(absl::string_view uid_map) {
  return Words(uid_map) == std::vector<absl::string_view>{"0", "0", "4294967295"};
}

absl::optional<int> NamespaceDepth(absl::string_view status) {
  const auto line = StatusLine(status, "NSpid:");
  if (!line.has_value()) return absl::nullopt;
  return static_cast<int>(Words(*line).size());
}

bool HasUid(absl::string_view status, uid_t uid) {
  const auto line = StatusLine(status, "Uid:");
  if (!line.has_value()) return false;
  const std::vector<absl::string_view> uids = Words(*line);
  return std::find(uids.begin(), uids.end(), absl::StrCat(uid)) != uids.end();
}

namespace {

// The cgroup that systemd has put the process into.
absl::optional<absl::string_view> SystemdCgroup(absl::string_view cgroup) {
  absl::optional<absl::string_view> path;
  for (absl::string_view line : absl::StrSplit(cgroup, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    if (fields[1] == "name=systemd") return fields[2];  // v1, and hybrid setups
    if (fields[0] == "0" && fields[1].empty()) path = fields[2];
  }
  return path;
}

}  // namespace

bool IsInSliceOfUser(absl::string_view cgroup, uid_t uid) {
  const absl::optional<absl::string_view> path = SystemdCgroup(cgroup);
  return path.has_value() &&
         absl::StartsWith(*path, absl::StrCat("/user.slice/user-", uid, ".slice/"));
}

std::string SystemUnitFromCgroup(absl::string_view cgroup) {
  absl::optional<absl::string_view> path = SystemdCgroup(cgroup);
  if (!path.has_value() || !absl::ConsumePrefix(&*path, "/system.slice/")) return "";

  // Slices may nest; the first part that is no slice is the unit, what follows is the unit's own
  // business.
  for (absl::string_view part : absl::StrSplit(*path, '/')) {
    absl::ConsumePrefix(&part, "_");  // systemd's escape for names that look like kernel files
    if (!IsUnitName(part)) return "";
    if (absl::EndsWith(part, ".slice")) continue;
    return absl::EndsWith(part, ".service") ? std::string(part) : "";
  }
  return "";
}

absl::optional<uid_t> LoginUid(absl::string_view loginuid) {
  uint32_t uid = 0;
  const std::vector<absl::string_view> words = Words(loginuid);
  if (words.size() != 1 || !absl::SimpleAtoi(words[0], &uid)) return absl::nullopt;
  if (uid == static_cast<uint32_t>(-1)) return absl::nullopt;
  return uid;
}

absl::optional<uint64_t> StartTicks(absl::string_view stat) {
  // The second field is the command in parentheses and may hold anything, parentheses too.
  const size_t end = stat.rfind(')');
  if (end == absl::string_view::npos) return absl::nullopt;
  const std::vector<absl::string_view> fields = Words(stat.substr(end + 1));
  constexpr size_t kIndex = 22 - 3;
  uint64_t ticks = 0;
  if (fields.size() <= kIndex || !absl::SimpleAtoi(fields[kIndex], &ticks)) return absl::nullopt;
  return ticks;
}

}  // namespace smartkey
