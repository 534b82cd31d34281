// SPDX-License-Identifier: Apache-2.0
#include "base/access_list.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/unique_fd.h"
#include "tests/base/access_list_octets.h"

namespace smartkey {
namespace {

constexpr uid_t kUs = 990;

TEST(AccessList, GivesOthersOnePermission_OnlyThatOneIsTheirs) {
  const std::string list =
      AccessListOctets({{kUserObj, 6}, {kUser, 4, 1000}, {kGroupObj, 4}, {kMask, 6}, {kOther, 1}});
  EXPECT_TRUE(AccessListAllowsOthers(list, 4, kUs));
  EXPECT_FALSE(AccessListAllowsOthers(list, 2, kUs));
  EXPECT_TRUE(AccessListAllowsOthers(list, 1, kUs));
}

TEST(AccessList, NamesRootAndTheTrustedUserOnly_NobodyElseMay) {
  const std::string list =
      AccessListOctets({{kUserObj, 6}, {kUser, 7, 0}, {kUser, 7, kUs}, {kGroupObj, 0}, {kMask, 7}});
  EXPECT_FALSE(AccessListAllowsOthers(list, 7, kUs));
  EXPECT_TRUE(AccessListAllowsOthers(list, 7, 991));
}

TEST(AccessList, OfTheFileItself_IsReadByDescriptorAndByPath) {
  std::string path = (std::filesystem::temp_directory_path() / "smartkey-test-XXXXXX").string();
  const UniqueFd fd(mkstemp(path.data()));
  ASSERT_TRUE(fd);
  EXPECT_EQ(AccessListOf(fd.get()), "");
  EXPECT_EQ(AccessListOf(path), "");
  EXPECT_FALSE(AccessListOf(path + ".none").has_value());
  const std::string list =
      AccessListOctets({{kUserObj, 6}, {kUser, 6, 1000}, {kGroupObj, 0}, {kMask, 6}, {kOther, 0}});
  const int set = setxattr(path.c_str(), "system.posix_acl_access", list.data(), list.size(), 0);
  // What a file system without them does about it has been seen above.
  if (set != 0) {
    ASSERT_EQ(errno, ENOTSUP);
  }
  const std::string expected = set == 0 ? list : "";
  EXPECT_EQ(AccessListOf(fd.get()), expected);
  EXPECT_EQ(AccessListOf(path), expected);
  unlink(path.c_str());
}

}  // namespace
}  // namespace smartkey
