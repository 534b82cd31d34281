// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/account_names.h"
#include "tests/base/access_list_octets.h"
#include "tests/daemon/app/config_directory.h"
#include "tests/daemon/app/packaged_users.h"

namespace smartkey {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Somebody whom no test is run as, with a second group.
const ServiceUser kService{60001, 60002, {60002, 60003}};

// For a process of its own; another user stays who he is.
void BeNobody() {
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(2);
}

std::string Trust(uid_t owner, gid_t group, mode_t mode,
                  const absl::optional<std::string>& list = "") {
  struct stat info {};
  info.st_uid = owner;
  info.st_gid = group;
  info.st_mode = mode;
  return WhyNotTrusted("/etc/f", info, list, kService);
}

TEST(ConfigAccess, OfRootOrTheService_IsTrusted) {
  EXPECT_THAT(Trust(0, 0, 0644), IsEmpty());
  EXPECT_THAT(Trust(0, 0, 0664), IsEmpty());
  EXPECT_THAT(Trust(0, 60002, 0660), IsEmpty());
  EXPECT_THAT(Trust(60001, 60002, 0600), IsEmpty());
  EXPECT_THAT(Trust(0, 60009, 0644), IsEmpty()) << "whoever only reads it";
}

TEST(ConfigAccess, SomebodyElseCouldWriteIt_IsNamedWithTheCommandThatEndsIt) {
  EXPECT_EQ(Trust(60004, 0, 0644), "belongs to 60004, who could change it: 'chown root /etc/f'");
  EXPECT_EQ(Trust(0, 60009, 0664), "can be written by the group 60009: 'chmod g-w /etc/f'");
  EXPECT_EQ(Trust(0, 60003, 0664), "can be written by the group 60003: 'chmod g-w /etc/f'")
      << "others may be in a second group";
  EXPECT_EQ(Trust(0, 0, 0646), "can be written by everybody: 'chmod o-w /etc/f'");
}

TEST(ConfigAccess, AccessListLetsAnotherWriteIt_IsRefusedWhateverItsGroup) {
  const auto list = [](int permissions, uid_t uid) {
    return AccessListOctets(
        {{kUserObj, 6}, {kUser, permissions, uid}, {kGroupObj, 4}, {kMask, 6}, {kOther, 4}});
  };
  const char told[] = "can be written by others, as its access list has it: 'setfacl -b /etc/f'";
  EXPECT_EQ(Trust(0, 0, 0664, list(6, 60004)), told);
  EXPECT_EQ(Trust(0, 60002, 0664, list(6, 60004)), told);
  EXPECT_EQ(Trust(0, 0, 0664, absl::nullopt), told) << "nobody knows what it says";
  EXPECT_THAT(Trust(0, 0, 0664, list(4, 60004)), IsEmpty()) << "another may read it";
  EXPECT_THAT(Trust(0, 0, 0664, list(6, 60001)), IsEmpty()) << "it is the service";
  EXPECT_THAT(Trust(0, 0, 0644, list(6, 60004)), IsEmpty()) << "the mask takes it away";
}

// Only root can give a directory to a group that it is not in.
TEST(ConfigAccess, AGroupMayRenameInTheFilesDirectory_IsRefusedUnlessItIsSticky) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  const bool is_root = geteuid() == 0;
  const ServiceUser user{geteuid(), is_root ? 60002 : getegid() + 1, {}};
  const gid_t group = is_root ? 60009 : getegid();
  ASSERT_EQ(chown(folder.c_str(), geteuid(), group), 0);
  ASSERT_EQ(chmod(folder.c_str(), 02775), 0);
  EXPECT_EQ(
      WhyFolderNotTrusted(folder, user),
      absl::StrCat("its directory ", folder, " can be written by the group ", GroupNameOf(group),
                   ": put it into one that root alone may write, as /etc/smartkeyd"));
  EXPECT_EQ(ReadConfig(dir.main_file()).errors.empty(), !is_root)
      << "a user's own is the service's";
  ASSERT_EQ(chmod(folder.c_str(), 01777), 0);
  EXPECT_THAT(WhyFolderNotTrusted(folder, user), IsEmpty());
  EXPECT_THAT(ReadConfig(dir.main_file()).errors, IsEmpty());
}

TEST(ConfigAccess, AnotherOwnsTheFilesDirectory_IsRefusedStickyOrNot) {
  const ConfigDirectory dir;
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(folder.c_str(), 60004, 0), 0);
  }
  ASSERT_EQ(chmod(folder.c_str(), 01777), 0);
  EXPECT_THAT(WhyFolderNotTrusted(folder, kService), HasSubstr("who could change it"));
}

TEST(ConfigAccess, GroupsThatTheUnitGives_AreTheServices) {
  const absl::optional<ServiceUser> user = ServiceUser::FindPackaged(PackagedUsers());
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(user->uid, 60001u);
  EXPECT_EQ(user->gid, 60002u);
  EXPECT_THAT(user->groups, testing::ElementsAre(60002, 60005, 60006));
  EXPECT_EQ(ServiceUser::Find(PackagedUsers()).uid, geteuid() == 0 ? 60001u : geteuid());
}

TEST(ConfigAccess, NoSuchUser_IsNobody) {
  UserDatabase users = PackagedUsers();
  users.find_user = [](const std::string&) -> absl::optional<uid_t> { return absl::nullopt; };
  EXPECT_FALSE(ServiceUser::FindPackaged(users).has_value());
}

TEST(ConfigAccess, ForTheServiceToo_IsReadable) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(chmod(dir.main_file().c_str(), 0644), 0);
  EXPECT_THAT(WhyNotReadable(dir.main_file(), kService), IsEmpty());
  EXPECT_THAT(WhyNotReadable(folder + "/none", kService), IsEmpty()) << "opening it says so";
}

TEST(ConfigAccess, ClosedToTheService_IsSaidWithTheCommandThatOpensIt) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const std::string file = dir.main_file();
  const std::string folder = file.substr(0, file.rfind('/'));
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  EXPECT_EQ(WhyNotReadable(file, kService),
            "cannot be read by 60001: 'chown root:60002 " + file + "; chmod 640 " + file + "'");
  ASSERT_EQ(chmod(folder.c_str(), 0700), 0);
  EXPECT_THAT(WhyNotReadable(file, kService), HasSubstr("may not look into " + folder));
  const ServiceUser member{60001, 60002, {60002, getegid()}};
  ASSERT_EQ(chmod(folder.c_str(), 0750), 0);
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  EXPECT_THAT(WhyNotReadable(file, member), IsEmpty());
  EXPECT_THAT(WhyNotReadable(folder, member), IsEmpty());
  ASSERT_EQ(chmod(folder.c_str(), 0710), 0);
  EXPECT_THAT(WhyNotReadable(folder, member), HasSubstr("chmod 750")) << "it is to be listed";
}

// As another user: nothing is closed to root.
TEST(ConfigAccess, FolderClosedToTheStart_IsNamedInsteadOfTheFile) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  ASSERT_EQ(chmod(folder.c_str(), 0), 0);
  EXPECT_EXIT(
      {
        BeNobody();
        std::cerr << LoadConfig(dir.main_file()).status().message();
        _exit(0);
      },
      testing::ExitedWithCode(0),
      AllOf(HasSubstr("may not look into " + folder + ": "), Not(HasSubstr("chmod 640"))));
  ASSERT_EQ(chmod(folder.c_str(), 0700), 0);
}

// As another user, too. Alice would tell root the command, and take the file from the service.
TEST(ConfigAccess, PersonMayNotReadADropIn_IsToldToLookAsRootAndNotThatItIsIgnored) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("x.toml"), "");
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  for (const std::string& open : {folder, dir.main_file() + ".d", folder + "/apps.d"}) {
    ASSERT_EQ(chmod(open.c_str(), 0755), 0);
  }
  ASSERT_EQ(chmod(dir.main_file().c_str(), 0644), 0);
  ASSERT_EQ(chmod(dir.drop_in("x.toml").c_str(), 0), 0);
  const std::string told =
      dir.drop_in("x.toml") +
      ": cannot be read: Permission denied: look at it as root, or let the user that smartkeyd "
      "runs as read it\n";
  const auto only_that = AllOf(HasSubstr(told), Not(HasSubstr("chown")), Not(HasSubstr("ignored")));
  EXPECT_EXIT(
      {
        BeNobody();
        _exit(CheckConfig(dir.main_file(), std::cerr, PackagedUsers()) == 1 ? 0 : 1);
      },
      testing::ExitedWithCode(0), only_that);
  EXPECT_EXIT(
      {
        BeNobody();
        for (const ConfigProblem& problem : ReadConfig(dir.main_file()).config.problems) {
          std::cerr << problem.ToString() << "\n";
        }
        _exit(0);
      },
      testing::ExitedWithCode(0), only_that);
}

// A check looks also where others may write: it is not to wait for what they put there.
TEST(ConfigAccess, DropInIsNoFile_IsNotOpened) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("a.toml"), "[[sever]]\n");
  ASSERT_EQ(mkfifo(dir.drop_in("x.toml").c_str(), 0600), 0);
  ASSERT_EQ(chmod((dir.main_file() + ".d").c_str(), 0777), 0);
  std::ostringstream out;
  EXPECT_EQ(CheckConfig(dir.main_file(), out), 1);
  EXPECT_THAT(out.str(), HasSubstr(dir.drop_in("x.toml") + ": is no file"));
  EXPECT_THAT(out.str(), HasSubstr("sever")) << "the others are looked into";
}

TEST(ConfigAccess, ServiceMayNotReadAFile_IsToldTheCommand) {
  UserDatabase users = PackagedUsers();
  users.entry_of = [](uid_t) { return UserEntry{"smartkeyd", "", 60002}; };
  EXPECT_EQ(WhyNotOpened("/etc/hosts", EACCES, false, kService, users),
            "cannot be read: Permission denied: 'chown root:60002 /etc/hosts; chmod 640 "
            "/etc/hosts'");
}

// As another user, too: root always looks for the service.
TEST(ConfigAccess, SomebodyLooksAtTheServicesConfiguration_ItIsReadAsForTheService) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const std::string file = dir.main_file();
  const std::string folder = file.substr(0, file.rfind('/'));
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  const uid_t service = 60001;
  EXPECT_EQ(ServiceUser::FindToCheck(file, PackagedUsers()).uid,
            geteuid() == 0 ? service : geteuid())
      << "whose file it is runs a smartkeyd of his own";
  if (geteuid() == 0) {
    ASSERT_EQ(chown(file.c_str(), 65534, 65534), 0);
  }
  EXPECT_EXIT(
      {
        BeNobody();
        const UserDatabase users = PackagedUsers();
        if (ServiceUser::FindToCheck("/etc/passwd", users).uid != service) _exit(3);
        _exit(ServiceUser::FindToCheck(file, users).uid == geteuid() ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

// Only root looks for the service; somebody else's own draft is his own smartkeyd's.
TEST(ConfigAccess, DraftInAClosedDirectory_IsLookedIntoAndTheDirectoryLeftAlone) {
  const ConfigDirectory dir;  // 0700, as /root
  dir.WriteMain("sokcet = 1\n");
  dir.WriteRaw(dir.drop_in("x.toml"), "[[sever]]\n");
  const std::string folder = dir.main_file().substr(0, dir.main_file().rfind('/'));
  std::ostringstream out;
  EXPECT_EQ(CheckConfig(dir.main_file(), out, PackagedUsers()), 1);
  EXPECT_THAT(out.str(), HasSubstr("smartkeyd.toml:3: unknown key \"sokcet\""));
  EXPECT_THAT(out.str(), HasSubstr("x.toml:1: unknown key \"sever\""));
  EXPECT_THAT(out.str(), Not(HasSubstr("chown")));
  const std::string closed =
      "may not look into " + folder + ": put it where smartkeyd may look, as into /etc/smartkeyd\n";
  const size_t first = out.str().find(closed);
  EXPECT_EQ(first != std::string::npos, geteuid() == 0) << out.str();
  EXPECT_EQ(out.str().find(closed, first + 1), std::string::npos) << "said once";
}

TEST(ConfigAccess, FileOthersCouldWrite_IsLookedIntoByACheckOnly) {
  const ConfigDirectory dir;
  dir.WriteMain("sokcet = 1\n");
  ASSERT_EQ(chmod(dir.main_file().c_str(), 0646), 0);
  EXPECT_EQ(ReadConfig(dir.main_file()).errors.size(), 1u);
  const std::vector<ConfigProblem> all = ReadConfig(dir.main_file(), ConfigUse::kCheck).errors;
  ASSERT_EQ(all.size(), 2u);
  EXPECT_THAT(all[0].message, HasSubstr("chmod o-w"));
  EXPECT_THAT(all[1].message, HasSubstr("sokcet"));
}

TEST(ConfigAccess, ProcesssOwnUser_IsLeftToTheKernel) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  ASSERT_EQ(chmod(dir.main_file().c_str(), 0), 0);
  EXPECT_THAT(WhyNotReadable(dir.main_file(), {geteuid(), 60002, {60002}}), IsEmpty());
}

}  // namespace
}  // namespace smartkey
