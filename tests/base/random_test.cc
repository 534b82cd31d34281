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
    EXPECT_TRUE(IsId(id)) << id;
    EXPECT_TRUE(seen.insert(id).second) << id;
  }
}

TEST(IsId, NamesAndWhatIsCutOff_AreNone) {
  for (const char* text :
       {"", "mercy", "alice/mercy", "-bcdefghijklmnopqrstuv", "abcdefghijklmnopqrstu",
        "abcdefghijklmnopqrstuvw", "abcdefghij.mnopqrstuvw"}) {
    EXPECT_FALSE(IsId(text)) << text;
  }
}

}  // namespace
}  // namespace smartkey
