// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/scope_cover.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

TEST(ScopeCover, SameScopeWhateverItIs_IsCovered) {
  for (const char* scope : {"openid", "launch/patient", "patient/*.rs", "odd/one.zz", "a?b"}) {
    EXPECT_TRUE(Covers(scope, scope)) << scope;
  }
}

TEST(ScopeCover, NarrowerClinicalScope_IsCovered) {
  const std::pair<const char*, const char*> pairs[] = {
      {"patient/*.rs", "patient/Observation.rs"},
      {"patient/*.rs", "patient/*.r"},
      {"patient/*.cruds", "patient/Observation.us"},
      {"patient/*.rs", "patient/Observation.rs?category=laboratory"},
      {"patient/*.read", "patient/Observation.rs"},
      {"patient/*.rs", "patient/Observation.read"},
      {"user/Observation.*", "user/Observation.write"},
  };
  for (const auto& [wide, narrow] : pairs) EXPECT_TRUE(Covers(wide, narrow)) << wide << narrow;
}

TEST(ScopeCover, WiderOrOtherScope_IsNot) {
  const std::pair<const char*, const char*> pairs[] = {
      {"patient/Observation.rs", "patient/*.rs"},
      {"patient/Observation.r", "patient/Observation.rs"},
      {"patient/*.rs", "user/Observation.rs"},
      {"patient/*.rs", "system/Observation.rs"},
      {"patient/Observation.rs?category=laboratory", "patient/Observation.rs"},
      {"patient/Observation.rs?category=laboratory", "patient/Observation.rs?category=vital-signs"},
      {"patient/*.rs", "openid"},
      {"patient/*.rs", "launch/patient"},
      {"patient/*.rs", "patient/*.write"},
      // Not in the standard's order, or no clinical scopes at all.
      {"patient/*.cruds", "patient/Observation.sr"},
      {"patient/*.cruds", "patient/Observation.rr"},
      {"patient/*.cruds", "patient/.r"},
      {"patient/*.cruds", "patient/Observation."},
      {"patient/*.cruds", "patient/Observation.rs?"},
      {"launch/*.rs", "launch/patient.rs"},
      {"*", "openid"},
      {"", "openid"},
  };
  for (const auto& [wide, narrow] : pairs) EXPECT_FALSE(Covers(wide, narrow)) << wide << narrow;
}

TEST(ScopeCover, Sets_EachNarrowOneNeedsAWideOne) {
  const ScopeSet wide = {"openid", "patient/Observation.rs", "patient/Patient.r"};
  EXPECT_TRUE(Covers(wide, ScopeSet{}));
  EXPECT_TRUE(Covers(wide, ScopeSet{"patient/Observation.r", "openid"}));
  EXPECT_FALSE(Covers(wide, ScopeSet{"patient/Observation.r", "fhirUser"}));
  EXPECT_FALSE(Covers(ScopeSet{}, ScopeSet{"openid"}));
}

}  // namespace
}  // namespace smartkey
