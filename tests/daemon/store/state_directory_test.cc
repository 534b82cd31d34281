// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/state_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/daemon/store/file_size_limit.h"
#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

unsigned ModeOf(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0u;
}

TEST(StateDirectory, Absent_IsMadeForTheOwnerOnly) {
  const TempDir dir;
  ASSERT_TRUE(StateDirectory::Lock(dir / "state").ok());
  EXPECT_EQ(ModeOf(dir / "state"), 0700u);
  EXPECT_EQ(ModeOf(dir / "state/lock"), 0600u);
}

TEST(StateDirectory, OpenToOthers_IsClosedToThem) {
  const TempDir dir;
  for (const mode_t mode : {0755, 0750, 0701}) {
    ASSERT_EQ(chmod(dir.path().c_str(), mode), 0);
    ASSERT_TRUE(StateDirectory::Lock(dir.path()).ok());
    EXPECT_EQ(ModeOf(dir.path()), 0700u);
  }
}

TEST(StateDirectory, OthersCouldWriteIt_IsRefusedWithTheCommandAndLeftAsItIs) {
  const TempDir dir;
  for (const mode_t mode : {0770, 0720, 0777, 0702}) {
    ASSERT_EQ(chmod(dir.path().c_str(), mode), 0);
    const absl::Status refused = StateDirectory::Lock(dir.path()).status();
    EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid) << refused;
    const char* const by = (mode & 02) != 0 ? "by everybody" : "by the group ";
    EXPECT_TRUE(
        absl::StrContains(refused.message(),
                          absl::StrCat("the state directory ", dir.path(), " can be written ", by)))
        << refused;
    EXPECT_TRUE(absl::StrContains(RemedyOf(refused), "'ls -lA'"));
    EXPECT_TRUE(
        absl::StrContains(RemedyOf(refused), absl::StrCat("chmod 0700 ", dir.path(), "'")));
    EXPECT_EQ(ModeOf(dir.path()), mode & 0777);
    EXPECT_TRUE(FilesIn(dir.path()).empty());
  }
  ASSERT_EQ(chmod(dir.path().c_str(), 0700), 0);
  EXPECT_TRUE(StateDirectory::Lock(dir.path()).ok());
}

// Only root can make one.
TEST(StateDirectory, BelongsToSomebodyElse_IsRefusedWithTheCommand) {
  const TempDir dir;
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(dir.path().c_str(), 60001, 60001), 0);
  const absl::Status refused = StateDirectory::Lock(dir.path()).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "belongs to 60001")) << refused;
  EXPECT_TRUE(absl::StrContains(RemedyOf(refused), "'chown ")) << RemedyOf(refused);
  EXPECT_TRUE(absl::StrContains(RemedyOf(refused),
                                absl::StrCat(" ", dir.path(), "; chmod 0700 ", dir.path(), "'")))
      << RemedyOf(refused);
  EXPECT_TRUE(FilesIn(dir.path()).empty());
}

TEST(StateDirectory, OthersCouldWriteIt_TheStoreIsNotOpened) {
  const TempDir dir;
  ASSERT_EQ(chmod(dir.path().c_str(), 0777), 0);
  EXPECT_EQ(ReasonOf(OpenStore(dir.path()).status()), Reason::kConfigInvalid);
  EXPECT_TRUE(FilesIn(dir.path()).empty());
}

TEST(StateDirectory, ParentMissing_SaysWhatToCheck) {
  const TempDir dir;
  const absl::Status status = StateDirectory::Lock(dir / "no/state").status();
  EXPECT_EQ(ReasonOf(status), Reason::kStoreUnavailable);
  EXPECT_TRUE(absl::StrContains(RemedyOf(status), "state directory exists"));
}

TEST(StateDirectory, FileInItsPlace_IsRefused) {
  const TempDir dir;
  WriteFile(dir / "state", "x");
  EXPECT_EQ(ReasonOf(StateDirectory::Lock(dir / "state").status()), Reason::kStoreUnavailable);
}

TEST(StateDirectory, Locked_ErrorNamesTheHolder) {
  const TempDir dir;
  const absl::StatusOr<StateDirectory> first = StateDirectory::Lock(dir.path());
  ASSERT_TRUE(first.ok());
  const absl::Status second = StateDirectory::Lock(dir.path()).status();
  EXPECT_EQ(ReasonOf(second), Reason::kAlreadyRunning);
  EXPECT_TRUE(absl::StrContains(second.message(), absl::StrCat("pid ", getpid(), ","))) << second;
}

TEST(StateDirectory, LockFileLeftByADeadProcess_IsNoHindrance) {
  const TempDir dir;
  WriteFile(dir / "lock", "1\n");
  EXPECT_TRUE(StateDirectory::Lock(dir.path()).ok());
  EXPECT_EQ(ReadFile(dir / "lock"), absl::StrCat(getpid(), "\n"));
}

TEST(StateDirectory, LinkInPlaceOfTheLock_IsNotFollowed) {
  const TempDir dir;
  WriteFile(dir / "precious", "content");
  ASSERT_EQ(symlink((dir / "precious").c_str(), (dir / "lock").c_str()), 0);
  EXPECT_FALSE(StateDirectory::Lock(dir.path()).ok());
  EXPECT_EQ(ReadFile(dir / "precious"), "content");
}

TEST(StateDirectory, LinkInPlaceOfAFolder_IsRefused) {
  const TempDir dir, elsewhere;
  const StateDirectory directory = StateDirectory::Lock(dir.path()).value();
  ASSERT_EQ(symlink(elsewhere.path().c_str(), (dir / "copies").c_str()), 0);
  EXPECT_EQ(ReasonOf(directory.MakeFolder("copies")), Reason::kStoreUnavailable);
  EXPECT_TRUE(directory.MakeFolder("other").ok());
  EXPECT_TRUE(directory.MakeFolder("other").ok());
}

TEST(StateDirectory, Room_IsThereOrNotAndNothingIsLeftOfTheLook) {
  const TempDir dir;
  const absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(dir.path());
  ASSERT_TRUE(directory.ok());
  EXPECT_TRUE(directory->CheckRoom(65536).ok());
  {
    const FileSizeLimit full(4096);
    EXPECT_TRUE(directory->CheckRoom(4096).ok());
    const absl::Status none = directory->CheckRoom(65536);
    EXPECT_EQ(ReasonOf(none), Reason::kStoreUnavailable) << none;
    EXPECT_TRUE(absl::StrContains(none.message(), dir.path())) << none;
  }
  EXPECT_EQ(directory->List("."), std::vector<std::string>{"lock"});
}

TEST(StateDirectory, CopiedDatabase_IsPrivateWithItsLogAndNothingOfAnOlderOne) {
  const TempDir dir;
  const StateDirectory directory = StateDirectory::Lock(dir.path()).value();
  WriteFile(dir / "a", std::string(200'000, 'a'));
  WriteFile(dir / "a-wal", "log");
  WriteFile(dir / "b-journal", "of an older one");
  ASSERT_EQ(chmod((dir / "a").c_str(), 0644), 0);
  ASSERT_TRUE(directory.CopyDatabase("a", "b").ok());
  EXPECT_EQ(FilesIn(dir.path()), (std::vector<std::string>{"a", "a-wal", "b", "b-wal", "lock"}));
  EXPECT_EQ(ReadFile(dir / "b"), std::string(200'000, 'a'));
  EXPECT_EQ(ReadFile(dir / "b-wal"), "log");
  struct stat status = {};
  ASSERT_EQ(stat((dir / "b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  // What is no file of its own is not read, and holds nobody up.
  ASSERT_EQ(symlink((dir / "a").c_str(), (dir / "link").c_str()), 0);
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(directory.CopyDatabase("link", "b").ok());
  EXPECT_FALSE(directory.IsFile("link"));
  EXPECT_FALSE(directory.IsFile("pipe"));
  EXPECT_TRUE(directory.IsFile("a"));
}

}  // namespace
}  // namespace smartkey
