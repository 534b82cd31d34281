// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/peer_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr absl::string_view kHostMap = "         0          0 4294967295\n";

TEST(UidMap, OnlyTheWholeIdentityCounts) {
  EXPECT_TRUE(IsIdentityUidMap(kHostMap));
  EXPECT_FALSE(IsIdentityUidMap("0 100000 65536\n"));
  EXPECT_FALSE(IsIdentityUidMap("0 0 65536\n"));  // systemd's PrivateUsers=identity
  EXPECT_FALSE(IsIdentityUidMap("0 0 4294967295\n1 1 1\n"));
  EXPECT_FALSE(IsIdentityUidMap("1000 1000 1\n"));
  EXPECT_FALSE(IsIdentityUidMap(""));
}

TEST(NamespaceDepth, CountsThePidsOfTheProcess) {
  EXPECT_EQ(NamespaceDepth("Name:\tx\nNSpid:\t4711\nNSpgid:\t1\t2\n"), 1);
  EXPECT_EQ(NamespaceDepth("Name:\tx\nNSpid:\t4711\t1\n"), 2);
  EXPECT_EQ(NamespaceDepth("Name:\tx\n"), absl::nullopt);
}

TEST(HasUid, LooksAtAllFour) {
  const absl::string_view status = "Name:\tUid:\nUid:\t1000\t0\t0\t1001\nGid:\t5\t5\t5\t5\n";
  EXPECT_TRUE(HasUid(status, 1000));
  EXPECT_TRUE(HasUid(status, 1001));
  EXPECT_FALSE(HasUid(status, 100));
  EXPECT_FALSE(HasUid(status, 5));
}

TEST(SystemUnit, IsReadFromBothCgroupVersions) {
  EXPECT_EQ(SystemUnitFromCgroup("0::/system.slice/viewer.service\n"), "viewer.service");
  EXPECT_EQ(SystemUnitFromCgroup("9:name=systemd:/system.slice/viewer.service\n8:pids:/x\n0::/\n"),
            "viewer.service");
  EXPECT_EQ(SystemUnitFromCgroup("0::/system.slice/system-db.slice/db@a\\x2db.service/worker\n"),
            "db@a\\x2db.service");
}

TEST(SystemUnit, UsersOwnUnitsAndEverythingElseAreNone) {
  for (absl::string_view cgroup :
       {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/viewer.service\n",
        "0::/user.slice/user-1000.slice/user@1000.service/system.slice/viewer.service\n",
        "0::/system.slice/docker-0123.scope\n", "0::/system.slice\n", "0::/system.slice/\n",
        "0::/../system.slice/viewer.service\n", "0::/system.slice/../viewer.service\n",
        "0::/system.slice/viewer.service.evil/x.service\n",
        "0::/system.slice/new\xffline.service\n", "9:name=systemd:/\n0::/system.slice/x.service\n",
        "4:memory:/system.slice/x.service\n", "nonsense", ""}) {
    EXPECT_EQ(SystemUnitFromCgroup(cgroup), "") << cgroup;
  }
}

TEST(UsersSlice, IsOneOfThatUserAtTheTop) {
  EXPECT_TRUE(IsInSliceOfUser("0::/user.slice/user-1000.slice/session-3.scope\n", 1000));
  EXPECT_TRUE(IsInSliceOfUser(
      "4:memory:/\n1:name=systemd:/user.slice/user-0.slice/user@0.service/x.service\n0::/\n", 0));
  for (absl::string_view cgroup :
       {"0::/user.slice/user-1001.slice/session-3.scope\n", "0::/user.slice/user-1000.slice\n",
        "0::/system.slice/docker-1.scope/user.slice/user-1000.slice/session-3.scope\n",
        "4:memory:/user.slice/user-1000.slice/session-3.scope\n", "0::/\n", ""}) {
    EXPECT_FALSE(IsInSliceOfUser(cgroup, 1000)) << cgroup;
  }
}

TEST(LoginUid, NobodyLoggedInOrMalformed_IsNobody) {
  EXPECT_EQ(LoginUid("1000"), 1000u);
  EXPECT_EQ(LoginUid("0\n"), 0u);
  EXPECT_EQ(LoginUid("4294967295"), absl::nullopt);
  EXPECT_EQ(LoginUid(""), absl::nullopt);
  EXPECT_EQ(LoginUid("-1"), absl::nullopt);
  EXPECT_EQ(LoginUid("1 2"), absl::nullopt);
}

TEST(StartTicks, SurviveAnyCommandName) {
  const std::string tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 0 0";
  EXPECT_EQ(StartTicks("77 (sh)" + tail), 424242u);
  EXPECT_EQ(StartTicks("77 (a) b) (c)" + tail), 424242u);
  EXPECT_EQ(StartTicks("77 (sh) S 1 2"), absl::nullopt);
  EXPECT_EQ(StartTicks(""), absl::nullopt);
}

// A procfs of files, for what cannot be arranged in a test process.
class FakeProc {
 public:
  FakeProc() {
    char name[] = "/tmp/smartkey-proc-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~FakeProc() { std::filesystem::remove_all(root_); }

  void Write(absl::string_view name, absl::string_view text) const {
    const std::filesystem::path path = root_ + "/" + std::string(name);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  // An ordinary process of uid 1000 that started 20 s after boot.
  void WriteProcess(pid_t pid) const {
    Write(absl::StrCat(pid, "/stat"),
          "77 (app) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 2000 0 0");
    Write(absl::StrCat(pid, "/status"), "Name:\tapp\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t77\n");
    Write(absl::StrCat(pid, "/uid_map"), kHostMap);
    Write(absl::StrCat(pid, "/cgroup"), "0::/system.slice/app.service\n");
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

PeerCredentials Unpinned() {
  PeerCredentials peer;
  peer.uid = 1000;
  peer.gid = 1000;
  peer.pid = 77;
  peer.accepted = BootTime::FromSinceBoot(absl::Seconds(30));
  return peer;
}

TEST(PeerIdentifier, AHostProcessWithoutPidfdIsKnownAndItsUnitNotPinned) {
  FakeProc proc;
  proc.WriteProcess(77);
  const Caller caller = PeerIdentifier(proc.root()).Identify(Unpinned()).value();
  EXPECT_FALSE(caller.in_container);
  EXPECT_EQ(caller.system_unit, "app.service");
  EXPECT_FALSE(caller.pid_pinned);
  EXPECT_FALSE(caller.admin);
}

TEST(PeerIdentifier, ServiceSaysThatAPersonLoggedInToIt_IsNotBelieved) {
  FakeProc proc;
  proc.WriteProcess(77);
  proc.Write("77/loginuid", "0");
  EXPECT_EQ(PeerIdentifier(proc.root()).Identify(Unpinned())->login_uid, absl::nullopt);
  proc.Write("77/cgroup", "0::/user.slice/user-0.slice/session-1.scope\n");
  EXPECT_EQ(PeerIdentifier(proc.root()).Identify(Unpinned())->login_uid, 0u);
}

TEST(PeerIdentifier, FirstLookAtAPeer_TellsContainersApart) {
  FakeProc proc;
  proc.WriteProcess(77);
  const PeerIdentifier identifier(proc.root());
  PeerCredentials peer;
  peer.pid = 77;
  EXPECT_FALSE(identifier.SeemsContained(peer));
  peer.vanished = true;
  EXPECT_TRUE(identifier.SeemsContained(peer));
  peer.vanished = false;
  proc.Write("77/status", "Name:\tapp\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t77\t1\n");
  EXPECT_TRUE(identifier.SeemsContained(peer));
  peer.pid = 78;
  EXPECT_TRUE(identifier.SeemsContained(peer)) << "cannot be seen";
  peer.pid = 0;
  EXPECT_TRUE(identifier.SeemsContained(peer));
}

TEST(PeerIdentifier, AProcessThatStartedAfterTheConnectionIsSomebodyElse) {
  FakeProc proc;
  proc.WriteProcess(77);
  PeerCredentials peer = Unpinned();
  peer.accepted = BootTime::FromSinceBoot(absl::Seconds(19));
  const Caller caller = PeerIdentifier(proc.root()).Identify(peer).value();
  EXPECT_TRUE(caller.in_container);
  EXPECT_EQ(caller.system_unit, "");
}

TEST(PeerIdentifier, WhomTheKernelCouldHoldAndDidNot_IsTakenForNobodysProcess) {
  FakeProc proc;
  proc.WriteProcess(77);
  PeerCredentials peer = Unpinned();
  peer.vanished = true;
  const auto caller = PeerIdentifier(proc.root()).Identify(peer);
  ASSERT_TRUE(caller.ok());
  EXPECT_TRUE(caller->in_container);
  EXPECT_EQ(caller->system_unit, "");
}

TEST(PeerIdentifier, AnotherUsersProcessUnderTheSamePidIsSomebodyElse) {
  FakeProc proc;
  proc.WriteProcess(77);
  PeerCredentials peer = Unpinned();
  peer.uid = 1001;
  EXPECT_TRUE(PeerIdentifier(proc.root()).Identify(peer)->in_container);
}

TEST(PeerIdentifier, WhatCannotBeReadCountsAgainstTheCaller) {
  for (const char* missing : {"77/stat", "77/status", "77/uid_map"}) {
    FakeProc proc;
    proc.WriteProcess(77);
    std::filesystem::remove(proc.root() + "/" + missing);
    const Caller caller = PeerIdentifier(proc.root()).Identify(Unpinned()).value();
    EXPECT_TRUE(caller.in_container) << missing;
    EXPECT_EQ(caller.system_unit, "") << missing;
  }
  FakeProc empty;
  EXPECT_TRUE(PeerIdentifier(empty.root()).Identify(Unpinned())->in_container);
}

TEST(PeerIdentifier, AnotherNamespaceIsAContainerAndHasNoUnit) {
  FakeProc pid_namespace;
  pid_namespace.WriteProcess(77);
  pid_namespace.Write("77/status", "Uid:\t1000\t1000\t1000\t1000\nNSpid:\t77\t1\n");
  FakeProc user_namespace;
  user_namespace.WriteProcess(77);
  user_namespace.Write("77/uid_map", "0 1000 1\n");
  for (const FakeProc* proc : {&pid_namespace, &user_namespace}) {
    const Caller caller = PeerIdentifier(proc->root()).Identify(Unpinned()).value();
    EXPECT_TRUE(caller.in_container);
    EXPECT_EQ(caller.system_unit, "");
  }
}

TEST(PeerIdentifier, OwnUidMapDecidesWhetherTheDaemonMayStart) {
  FakeProc proc;
  proc.Write("self/uid_map", kHostMap);
  EXPECT_TRUE(PeerIdentifier(proc.root()).OwnUidMapIsIdentity());
  proc.Write("self/uid_map", "1000 0 1\n");
  EXPECT_FALSE(PeerIdentifier(proc.root()).OwnUidMapIsIdentity());
  std::filesystem::remove(proc.root() + "/self/uid_map");
  EXPECT_FALSE(PeerIdentifier(proc.root()).OwnUidMapIsIdentity());
}

// A user database that needs more than a first buffer, and one that answers with `error`.
int LongEntry(uid_t, passwd* entry, char* buffer, size_t size, passwd** found) {
  if (size < 100'000) return ERANGE;
  entry->pw_name = std::strcpy(buffer, "alice");
  *found = entry;
  return 0;
}
template <int error>
int Answers(uid_t, passwd*, char*, size_t, passwd** found) {
  *found = nullptr;
  return error;
}

TEST(LoginShell, OfPeopleAndOfServices) {
  for (const char* shell : {"/bin/bash", "/usr/bin/zsh", "", "/opt/shells/fish"}) {
    EXPECT_TRUE(IsLoginShell(shell)) << shell;
  }
  for (const char* shell : {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/bin/sync"}) {
    EXPECT_FALSE(IsLoginShell(shell)) << shell;
  }
}

TEST(UserName, NoSuchUserIsAnAnswerAndTroubleIsNone) {
  EXPECT_EQ(LookUpUserEntry(0).value().name, "root");
  EXPECT_EQ(LookUpUserEntry(1000, LongEntry).value().name, "alice");
  for (const GetPwUid get : {Answers<0>, Answers<ENOENT>, Answers<ESRCH>}) {
    EXPECT_EQ(LookUpUserEntry(1000, get).value().name, "");
  }
  for (const GetPwUid get :
       {Answers<EIO>, Answers<ETIMEDOUT>, Answers<EAGAIN>, Answers<EMFILE>, Answers<ERANGE>}) {
    const absl::Status status = LookUpUserEntry(1000, get).status();
    EXPECT_EQ(ReasonOf(status), Reason::kNotReady) << status;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
}

TEST(PeerIdentifier, ACallerWhoseNameCannotBeLookedUpIsNoCallerWithoutAName) {
  FakeProc proc;
  proc.WriteProcess(77);
  const PeerIdentifier silent(proc.root(),
                              [](uid_t uid) { return LookUpUserEntry(uid, Answers<EIO>); });
  EXPECT_EQ(ReasonOf(silent.Identify(Unpinned()).status()), Reason::kNotReady);
  const PeerIdentifier unknown(proc.root(),
                               [](uid_t uid) { return LookUpUserEntry(uid, Answers<0>); });
  const Caller caller = unknown.Identify(Unpinned()).value();
  EXPECT_EQ(caller.user_name, "");
  EXPECT_FALSE(caller.in_container);
}

TEST(PeerIdentifier, ItsProgramCannotBeRead_TheNameThatItGoesByIsSaidToBeOne) {
  FakeProc proc;
  proc.WriteProcess(77);
  proc.Write("77/comm", "view\ner\n");
  const PeerIdentifier identifier(proc.root(), [](uid_t) { return UserEntry{"alice", "", 1000}; });
  EXPECT_EQ(identifier.Identify(Unpinned()).value().observed_executable, "[view\\x0aer]");
  std::filesystem::create_symlink("/usr/bin/viewer", proc.root() + "/77/exe");
  EXPECT_EQ(identifier.Identify(Unpinned()).value().observed_executable, "/usr/bin/viewer");
}

class SocketPair : public testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    near_.reset(fds[0]);
    far_.reset(fds[1]);
  }
  UniqueFd near_, far_;
};

TEST_F(SocketPair, OwnProcessIsAttestedWithUidGroupsAndPid) {
  const auto peer = ReadPeerCredentials(near_.get(), SystemClock().Boot());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->uid, geteuid());
  EXPECT_EQ(peer->gid, getegid());
  EXPECT_EQ(peer->pid, getpid());
  std::vector<gid_t> groups(getgroups(0, nullptr));
  groups.resize(getgroups(static_cast<int>(groups.size()), groups.data()));
  EXPECT_THAT(peer->groups, testing::UnorderedElementsAreArray(groups));
}

TEST_F(SocketPair, OwnProcessIsIdentifiedAsTheSystemSeesIt) {
  const auto peer = ReadPeerCredentials(near_.get(), SystemClock().Boot());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const PeerIdentifier identifier;
  const Caller caller = identifier.Identify(*peer).value();
  EXPECT_EQ(caller.pid_pinned, static_cast<bool>(peer->pidfd));
  // A test that itself runs in a container with a pid namespace still sees one NSpid here.
  EXPECT_EQ(caller.in_container, !identifier.OwnUidMapIsIdentity());
  EXPECT_FALSE(caller.observed_executable.empty());
}

TEST_F(SocketPair, APinnedProcessThatHasEndedIsNotTrusted) {
  auto peer = ReadPeerCredentials(near_.get(), SystemClock().Boot());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(0);
  peer->pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  ASSERT_TRUE(peer->pidfd);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  // The pid is this process's, alive and well: only the pidfd knows better.
  const Caller caller = PeerIdentifier().Identify(*peer).value();
  EXPECT_TRUE(caller.in_container);
  EXPECT_FALSE(caller.pid_pinned);
}

TEST(PeerCredentials, WhatIsNoUnixSocketIsUnidentified) {
  const UniqueFd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(ReasonOf(ReadPeerCredentials(udp.get(), BootTime()).status()),
            Reason::kCallerUnidentified);
  EXPECT_EQ(ReasonOf(ReadPeerCredentials(-1, BootTime()).status()), Reason::kCallerUnidentified);
}

}  // namespace
}  // namespace smartkey
