// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/access_token.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

TEST(ScopeSet, OrderRepetitionAndSpacesDoNotMatter) {
  EXPECT_EQ(ParseScope("patient/*.rs openid"), ParseScope(" openid  patient/*.rs openid "));
  EXPECT_EQ(ToScopeString(ParseScope("patient/*.rs openid  openid")), "openid patient/*.rs");
}

TEST(ScopeSet, CaseMatters) {
  EXPECT_NE(ParseScope("openid fhirUser"), ParseScope("openid fhiruser"));
}

TEST(ScopeSet, NothingAskedForIsTheEmptySet) {
  EXPECT_TRUE(ParseScope("").empty());
  EXPECT_TRUE(ParseScope("   ").empty());
  EXPECT_EQ(ToScopeString({}), "");
}

}  // namespace
}  // namespace smartkey
