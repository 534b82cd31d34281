// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace smartkey {
namespace {

std::vector<std::string> SeriesOf(const Metrics& metrics, absl::string_view name) {
  std::vector<std::string> series;
  for (const absl::string_view line : absl::StrSplit(metrics.ToText({}), '\n')) {
    if (absl::StartsWith(line, absl::StrCat(name, "{"))) series.emplace_back(line);
  }
  return series;
}

TEST(Metrics, MethodsThatAreNone_AreOneSeriesHoweverManyThereAre) {
  Metrics metrics;
  for (int i = 0; i < 1000; ++i) {
    metrics.OnCallEnded(absl::StrCat("/made.up/", i, "\xff"), /*unary=*/false,
                        grpc::StatusCode::UNIMPLEMENTED, absl::Seconds(1));
  }
  EXPECT_THAT(SeriesOf(metrics, "smartkeyd_rpc_total"),
              testing::ElementsAre(testing::AllOf(testing::HasSubstr("method=\"unknown\""),
                                                  testing::HasSubstr("code=\"UNIMPLEMENTED\""),
                                                  testing::HasSubstr("} 1000"))));
}

TEST(Metrics, MethodsThatThereAre_EachHasItsName) {
  Metrics metrics;
  const auto count = [&](const char* path) {
    metrics.OnCallEnded(path, /*unary=*/true, grpc::StatusCode::OK, absl::Seconds(1));
  };
  count("/smartkey.v1.TokenService/GetAccessToken");
  count("/smartkey.v1.AdminService/GetStatus");
  count("/smartkey.v1.EnrollmentService/BeginEnrollment");
  count("/smartkey.v1.RegistrationService/GetRegistration");
  count("/smartkey.v1.ServerInfoService/GetServerInfo");
  count("/smartkey.v1.SharingService/ShareRegistration");
  count("/smartkey.v1.SigningService/SignClientAssertion");
  count("/grpc.health.v1.Health/Check");
  const std::vector<std::string> series = SeriesOf(metrics, "smartkeyd_rpc_total");
  EXPECT_EQ(series.size(), 8u);
  EXPECT_THAT(series, testing::Contains(testing::HasSubstr("\"TokenService/GetAccessToken\"")));
  EXPECT_THAT(series, testing::Contains(testing::HasSubstr("\"grpc.health.v1.Health/Check\"")));
  EXPECT_THAT(series, testing::Not(testing::Contains(testing::HasSubstr("unknown"))));
}

}  // namespace
}  // namespace smartkey
