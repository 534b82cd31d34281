// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/quantile.h"

#include "gtest/gtest.h"

namespace smartkey {
namespace {

TEST(Quantile, FallsBetweenTheNearestTwo) {
  EXPECT_EQ(Quantile({3}, 0.5), 3);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0), 1);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 1), 4);
}

}  // namespace
}  // namespace smartkey
