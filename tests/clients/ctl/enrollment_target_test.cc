// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/enrollment_target.h"

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

class EnrollmentTargetTest : public testing::Test {
 protected:
  absl::StatusOr<EnrollmentTarget> Find(const client::EnrollmentWish& wish) const {
    return FindEnrollmentTarget(wish, servers_, apps_);
  }
  void Expect(Reason reason, const client::EnrollmentWish& wish) const {
    EXPECT_EQ(ReasonOf(Find(wish).status()), reason);
  }

  std::vector<client::Server> servers_ = {
      {"mercy", "https://mercy.example/fhir", "smart", {"org.example.viewer"}},
      {"both", "https://both.example/fhir/", "smart", {"org.example.viewer", "org.example.web"}},
      {"none", "https://none.example/fhir", "smart", {}}};
  std::vector<client::App> apps_ = {
      {"org.example.viewer", "Viewer", {"https://x.example/cb", "http://127.0.0.1/cb"}, {}, {}},
      {"org.example.web", "Web", {"https://web.example/cb"}, {}, {}}};
};

TEST_F(EnrollmentTargetTest, TheOnlyAppOfTheServerNeedNotBeNamed) {
  auto target = Find({.server = "mercy"});
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->app, "org.example.viewer");
}

TEST_F(EnrollmentTargetTest, OneOfSeveralAppsHasToBeNamed) {
  auto target = Find({.server = "both"});
  EXPECT_EQ(ExitCodeOf(target.status()), ExitCode::kUsage);
  EXPECT_THAT(RemedyOf(target.status()), testing::HasSubstr("org.example.web"));
  EXPECT_TRUE(Find({.app = "org.example.web", .server = "both"}).ok());
}

TEST_F(EnrollmentTargetTest, AServerIsFoundByItsFhirBaseWithOrWithoutSlash) {
  EXPECT_TRUE(Find({.fhir_base = "https://mercy.example/fhir/"}).ok());
  EXPECT_TRUE(Find({.app = "org.example.web", .fhir_base = "https://both.example/fhir"}).ok());
}

TEST_F(EnrollmentTargetTest, ALoopbackRedirectUriIsPreferred) {
  EXPECT_EQ(Find({.server = "mercy"})->redirect_uri, "http://127.0.0.1/cb");
  EXPECT_TRUE(Find({.server = "mercy"})->loopback.has_value());
}

TEST_F(EnrollmentTargetTest, WithoutALoopbackOneTheRedirectIsPasted) {
  auto target = Find({.app = "org.example.web", .server = "both"});
  EXPECT_EQ(target->redirect_uri, "https://web.example/cb");
  EXPECT_FALSE(target->loopback.has_value());
}

TEST_F(EnrollmentTargetTest, WhatIsNotConfiguredIsNamedAsSuch) {
  Expect(Reason::kUnknownServer, {.server = "merzy"});
  Expect(Reason::kUnknownServer, {});
  Expect(Reason::kUnknownApp, {.server = "none"});
  Expect(Reason::kUnknownApp, {.app = "org.example.other", .server = "mercy"});
}

}  // namespace
}  // namespace smartkey::ctl
