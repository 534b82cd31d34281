// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/listener.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace smartkey {
namespace {

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/smartkey-listener-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/a.sock";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static bool CanConnect(const std::string& path) {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  mode_t Mode() const {
    struct stat info {};
    stat(path_.c_str(), &info);
    return info.st_mode & 07777;
  }

  std::string directory_, path_;
};

TEST_F(ListenerTest, ANewSocketCanBeReachedByEverybody) {
  auto listener = Listener::Create({path_});
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnect(path_));
  EXPECT_EQ(Mode(), 0666u);
}

TEST_F(ListenerTest, EverybodyMayWriteTheDirectory_IsRefusedWithWhatToDo) {
  ASSERT_EQ(chmod(directory_.c_str(), 0777), 0);
  const absl::Status refused = Listener::Create({path_}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid);
  EXPECT_NE(RemedyOf(refused).find("'chmod o-w " + directory_ + "'"), std::string::npos);
  ASSERT_EQ(chmod(directory_.c_str(), 01777), 0);  // as /tmp: nobody renames what is another's
  EXPECT_TRUE(Listener::Create({path_}).ok());
}

// Only root can give a directory away.
TEST_F(ListenerTest, AnothersGroupMayWriteTheDirectory_IsRefusedWithWhatToDo) {
  ASSERT_EQ(chmod(directory_.c_str(), 0775), 0);
  EXPECT_TRUE(Listener::Create({path_}).ok()) << "its own group";
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(directory_.c_str(), 0, 60002), 0);
  const absl::Status refused = Listener::Create({path_}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid) << refused;
  EXPECT_NE(refused.message().find(directory_ + " can be written by the group 60002"),
            std::string::npos)
      << refused;
  EXPECT_NE(RemedyOf(refused).find("'chmod g-w " + directory_ + "'"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_EQ(chmod(directory_.c_str(), 01775), 0);
  EXPECT_TRUE(Listener::Create({path_}).ok());
  ASSERT_EQ(chmod(directory_.c_str(), 02750), 0);  // as the metrics' socket has it
  EXPECT_TRUE(Listener::Create({path_}).ok());
}

TEST_F(ListenerTest, TheDirectoryBelongsToAnUnprivilegedUser_IsRefusedWithWhatToDo) {
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(directory_.c_str(), 60001, 0), 0);
  for (const mode_t mode : {0755, 01777}) {  // its owner renames what is another's there, too
    ASSERT_EQ(chmod(directory_.c_str(), mode), 0);
    const absl::Status refused = Listener::Create({path_}).status();
    EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid) << refused;
    EXPECT_NE(refused.message().find(directory_ + " belongs to 60001"), std::string::npos)
        << refused;
    EXPECT_EQ(RemedyOf(refused).find("chown "), std::string::npos) << RemedyOf(refused);
    EXPECT_NE(RemedyOf(refused).find("a directory of its own"), std::string::npos);
  }
}

TEST_F(ListenerTest, ItsDirectoryIsNotThere_IsSaidWithTheCommandThatMakesIt) {
  const absl::Status refused = Listener::Create({directory_ + "/no/a.sock"}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid);
  EXPECT_NE(RemedyOf(refused).find("install -d -o "), std::string::npos) << RemedyOf(refused);
  EXPECT_NE(RemedyOf(refused).find(directory_ + "/no'"), std::string::npos);
}

// As another user: nothing is closed to root.
TEST_F(ListenerTest, ItsDirectoryIsAnothers_IsSaidWithTheCommandThatGivesIt) {
  ASSERT_EQ(chmod(directory_.c_str(), 0555), 0);
  EXPECT_EXIT(
      {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
        const absl::Status refused = Listener::Create({path_}).status();
        const bool told = ReasonOf(refused) == Reason::kConfigInvalid &&
                          RemedyOf(refused).find(" " + directory_ + "'") != std::string::npos &&
                          RemedyOf(refused).find("chown ") != std::string::npos;
        _exit(told ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(ListenerTest, TheModeHoldsWhateverTheUmask) {
  const mode_t before = umask(0077);
  auto listener = Listener::Create({path_, 0660});
  umask(before);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(Mode(), 0660u);
}

TEST_F(ListenerTest, AGroupThatCanBeGivenIsGiven) {
  auto listener = Listener::Create({path_, 0660, getegid()});
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(Mode(), 0660u);
}

TEST_F(ListenerTest, AStaleSocketIsReplaced) {
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_FALSE(CanConnect(path_));
  auto listener = Listener::Create({path_});
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, ASecondDaemonLeavesTheFirstOnesSocketAlone) {
  auto first = Listener::Create({path_});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ReasonOf(Listener::Create({path_}).status()), Reason::kAlreadyRunning);
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, ALiveSocketWithoutOurLockIsLeftAlone) {
  auto first = Listener::Create({path_});
  ASSERT_TRUE(first.ok()) << first.status();
  std::filesystem::remove(path_ + ".lock");
  EXPECT_EQ(ReasonOf(Listener::Create({path_}).status()), Reason::kAlreadyRunning);
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  const absl::Status refused = Listener::Create({path_}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid);
  EXPECT_NE(RemedyOf(refused).find("take it away"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(ListenerTest, APathThatDoesNotFitIsRefusedAndTheLongestIsNot) {
  const size_t room = sizeof(sockaddr_un::sun_path) - 1;
  path_ = directory_ + "/" + std::string(room - directory_.size() - 1, 'x');
  {
    auto longest = Listener::Create({path_});
    EXPECT_TRUE(longest.ok()) << longest.status();
  }
  EXPECT_EQ(ReasonOf(Listener::Create({path_ + "x"}).status()), Reason::kConfigInvalid);
  EXPECT_EQ(ReasonOf(Listener::Create({"relative.sock"}).status()), Reason::kConfigInvalid);
}

TEST_F(ListenerTest, ItsEndRemovesThePathAndFreesTheLock) {
  {
    auto listener = Listener::Create({path_});
    ASSERT_TRUE(listener.ok()) << listener.status();
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(Listener::Create({path_}).ok());
}

TEST_F(ListenerTest, AnInheritedSocketIsServedAndItsPathKept) {
  auto systemd = Listener::Create({path_});
  ASSERT_TRUE(systemd.ok()) << systemd.status();
  {
    auto inherited = Listener::FromInherited(UniqueFd(dup(systemd->fd())));
    ASSERT_TRUE(inherited.ok()) << inherited.status();
    EXPECT_EQ(inherited->path(), "");
  }
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(ListenerTest, WhatDoesNotListenIsNoListener) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(ReasonOf(Listener::FromInherited(std::move(fd)).status()), Reason::kConfigInvalid);
}

TEST_F(ListenerTest, DescriptorsFromSystemdAreTakenOnceWithTheirNames) {
  // sd_listen_fds counts from descriptor 3 and looks at LISTEN_PID, so it takes a process of its
  // own.
  auto systemd = Listener::Create({path_});
  ASSERT_TRUE(systemd.ok()) << systemd.status();
  EXPECT_EXIT(
      {
        const int copy = dup2(systemd->fd(), 3);
        setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
        setenv("LISTEN_FDS", "1", 1);
        setenv("LISTEN_FDNAMES", "public", 1);
        auto inherited = TakeInheritedFds();
        const bool taken = copy == 3 && inherited.ok() && inherited->size() == 1 &&
                           (*inherited)[0].name == "public" && (*inherited)[0].fd.get() == 3;
        auto again = TakeInheritedFds();
        _exit(taken && again.ok() && again->empty() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace smartkey
