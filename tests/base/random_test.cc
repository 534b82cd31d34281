// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <set>

#include "gtest/gtest.h"

namespace smartkey {
namespace {

TEST(RandomId, TenThousandIds_AreDifferentAndNeverBeginAnOption) {
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = RandomId();
    EXPECT_EQ(id.size(), 22u);
    EXPECT_NE(id[0], '-') << id;
    EXPECT_TRUE(seen.insert(id).second) << id;
  }
}

}  // namespace
}  // namespace smartkey
