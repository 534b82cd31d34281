// SPDX-License-Identifier: Apache-2.0
#include "base/duration.h"

#include "base/error.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

TEST(ParseDuration, UnitsAndTheirSumsAreRead) {
  EXPECT_EQ(*ParseDuration("90s"), absl::Seconds(90));
  EXPECT_EQ(*ParseDuration("5m"), absl::Minutes(5));
  EXPECT_EQ(*ParseDuration("1h30m"), absl::Minutes(90));
  EXPECT_EQ(*ParseDuration("2d"), absl::Hours(48));
  EXPECT_EQ(*ParseDuration("1d1h1m1s"), absl::Seconds(90061));
  EXPECT_EQ(*ParseDuration("0s"), absl::ZeroDuration());
  EXPECT_EQ(*ParseDuration("1y"), absl::Hours(24 * 365));
  EXPECT_EQ(*ParseDuration("1y5d"), absl::Hours(24 * 370));
}

TEST(ParseDuration, EverythingElseIsAUsageError) {
  for (const char* text :
       {"", "5", "m", "5x", "5m1h", "1h1h", "-5m", "+5m", " 5m", "5m ", "1.5h", "5M",
        "99999999999999999999s", "11y", "3651d", "1d1y", "4294967295d", "1e3s", "5ms"}) {
    auto duration = ParseDuration(text);
    ASSERT_FALSE(duration.ok()) << text;
    EXPECT_EQ(ExitCodeOf(duration.status()), ExitCode::kUsage) << text;
  }
}

}  // namespace
}  // namespace smartkey
