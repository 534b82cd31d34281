// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/refresh_policy.h"

#include "gtest/gtest.h"

namespace smartkey {
namespace {

TEST(ExpiryMargin, LifetimesFromASecondToADay_AreBoundedAsDocumented) {
  EXPECT_EQ(ExpiryMargin(absl::Seconds(1)), absl::Seconds(1) / 3);
  EXPECT_EQ(ExpiryMargin(absl::Seconds(15)), absl::Seconds(5));    // a third
  EXPECT_EQ(ExpiryMargin(absl::Seconds(30)), absl::Seconds(10));   // both
  EXPECT_EQ(ExpiryMargin(absl::Seconds(90)), absl::Seconds(10));   // at least 10 s
  EXPECT_EQ(ExpiryMargin(absl::Seconds(300)), absl::Seconds(30));  // a tenth
  EXPECT_EQ(ExpiryMargin(absl::Seconds(600)), absl::Seconds(60));
  EXPECT_EQ(ExpiryMargin(absl::Seconds(3600)), absl::Seconds(60));  // at most 60 s
  EXPECT_EQ(ExpiryMargin(absl::Seconds(86400)), absl::Seconds(60));
}

TEST(ExpiryMargin, EveryLifetime_LeavesTwoThirdsOfItUsable) {
  for (int seconds = 1; seconds <= 86400; seconds += 7) {
    EXPECT_LE(ExpiryMargin(absl::Seconds(seconds)), absl::Seconds(seconds) / 3) << seconds;
    EXPECT_GT(ExpiryMargin(absl::Seconds(seconds)), absl::ZeroDuration()) << seconds;
  }
}

TEST(SetRefreshTime, EveryJitter_LiesBetweenHalfAndTwoThirdsAndBeforeTheMargin) {
  const BootTime now = BootTime::FromSinceBoot(absl::Hours(5));
  const absl::Time wall_now = absl::FromUnixSeconds(1'800'000'000);
  for (const int seconds : {1, 10, 60, 3600, 86400}) {
    for (const double jitter : {0.0, 0.5, 0.999999}) {
      AccessToken token;
      token.expires = now + absl::Seconds(seconds);
      SetRefreshTime(token, now, wall_now, jitter);
      const absl::Duration wait = token.refresh_after - now;
      EXPECT_EQ(token.lifetime, absl::Seconds(seconds));
      EXPECT_GE(wait, token.lifetime / 2);
      EXPECT_LT(wait, token.lifetime * 2 / 3 + absl::Milliseconds(1));
      EXPECT_LE(wait, token.lifetime - ExpiryMargin(token.lifetime) + absl::Milliseconds(1));
      EXPECT_EQ(token.refresh_after_at, wall_now + wait);
    }
  }
}

TEST(SetRefreshTime, DifferentJitter_SpreadsTheRefreshes) {
  const BootTime now = BootTime::FromSinceBoot(absl::Hours(5));
  AccessToken early, late;
  early.expires = late.expires = now + absl::Hours(1);
  SetRefreshTime(early, now, absl::UnixEpoch(), 0.0);
  SetRefreshTime(late, now, absl::UnixEpoch(), 0.999);
  EXPECT_GT(late.refresh_after - early.refresh_after, absl::Minutes(9));
}

TEST(TransientBackoff, FailuresInARow_DoubleUpTo300Seconds) {
  const int expected[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
  for (int failures = 1; failures <= 11; ++failures) {
    EXPECT_EQ(TransientBackoff(failures, 0.5), absl::Seconds(expected[failures - 1])) << failures;
  }
  EXPECT_EQ(TransientBackoff(1'000'000, 0.5), absl::Seconds(300));
  EXPECT_EQ(TransientBackoff(0, 0.5), absl::Seconds(1));
}

TEST(TransientBackoff, Jitter_IsAFifthEitherWay) {
  EXPECT_EQ(TransientBackoff(3, 0.0), absl::Milliseconds(3200));
  EXPECT_LE(TransientBackoff(3, 0.9999), absl::Milliseconds(4800));
  EXPECT_GT(TransientBackoff(3, 0.9999), absl::Milliseconds(4790));
}

TEST(RefusalBackoff, RefusalsInARow_WaitFiveMinutesThenAnHourThenADay) {
  EXPECT_EQ(RefusalBackoff(1, false, 0.5), absl::Minutes(5));
  EXPECT_EQ(RefusalBackoff(2, false, 0.5), absl::Hours(1));
  EXPECT_EQ(RefusalBackoff(20, false, 0.5), absl::Hours(1));
  EXPECT_EQ(RefusalBackoff(20, true, 0.5), absl::Hours(24));
  EXPECT_GE(RefusalBackoff(1, false, 0.0), absl::Seconds(269));
  EXPECT_LE(RefusalBackoff(1, false, 0.9999), absl::Seconds(331));
}

TEST(VerifyingBackoff, Attempts_DoubleUpToFifteenSeconds) {
  const int expected[] = {1, 2, 4, 8, 15, 15};
  for (int attempts = 1; attempts <= 6; ++attempts) {
    EXPECT_EQ(VerifyingBackoff(attempts), absl::Seconds(expected[attempts - 1])) << attempts;
  }
}

}  // namespace
}  // namespace smartkey
