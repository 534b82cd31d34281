// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/idle_registrations.h"

#include "absl/strings/match.h"
#include "daemon/enrollment/registration_suspender.h"
#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

class IdleRegistrationsTest : public EnrollmentTest {
 protected:
  void AllowIdle(absl::Duration max_idle) {
    Catalog catalog = *catalog_.Get();
    Policy policy;
    policy.max_idle = max_idle;
    policy.place = "smartkeyd.toml:7";
    catalog.policies = {policy};
    catalog_.Set(std::move(catalog));
  }

  // Looks now, and not again.
  void Look() {
    IdleRegistrations idle(store(), catalog_, daemon_->tokens, daemon_->scheduler, clock_);
    idle.Start();
  }

  bool IsSuspended(const std::string& id) { return store().Find(id)->suspension.has_value(); }
};

TEST_F(IdleRegistrationsTest, UnusedForLonger_IsSuspendedAndSaysWhy) {
  const auto id = Enroll()->id;
  AllowIdle(180 * kDay);
  clock_.Advance(180 * kDay - absl::Hours(1));
  Look();
  EXPECT_FALSE(IsSuspended(id));
  clock_.Advance(absl::Hours(2));
  Look();
  ASSERT_TRUE(IsSuspended(id));
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 0);
  const Suspension suspension = *store().Find(id)->suspension;
  EXPECT_TRUE(absl::StrContains(suspension.why, "180 days")) << suspension.why;
  EXPECT_TRUE(absl::StrContains(suspension.why, "smartkeyd.toml:7")) << suspension.why;
  EXPECT_FALSE(suspension.by_administrator);
}

TEST_F(IdleRegistrationsTest, ResumedByItsOwner_ItHasTheWholeTimeAgain) {
  const auto id = Enroll()->id;
  AllowIdle(10 * kDay);
  clock_.Advance(11 * kDay);
  Look();
  ASSERT_TRUE(IsSuspended(id));
  RegistrationSuspender suspender(store(), daemon_->access, daemon_->tokens, clock_);
  suspender.Resume(Alice(), {RegistrationTarget::Kind::kRegistration, id},
                   [](const auto& resumed) { EXPECT_TRUE(resumed.ok()); });
  clock_.Advance(9 * kDay);
  Look();
  EXPECT_FALSE(IsSuspended(id));
  clock_.Advance(2 * kDay);
  Look();
  EXPECT_TRUE(IsSuspended(id));
}

TEST_F(IdleRegistrationsTest, Used_TheTimeCountsFromItsLastToken) {
  const auto id = Enroll()->id;
  AllowIdle(10 * kDay);
  clock_.Advance(9 * kDay);
  EXPECT_TRUE(absl::StartsWith(TokenFor(id), kAccessToken));
  clock_.Advance(9 * kDay);
  Look();
  EXPECT_FALSE(IsSuspended(id));
}

TEST_F(IdleRegistrationsTest, WithoutSuchAPolicy_NothingIsSuspended) {
  const auto id = Enroll()->id;
  clock_.Advance(4000 * kDay);
  Look();
  EXPECT_FALSE(IsSuspended(id));
}

}  // namespace
}  // namespace smartkey
