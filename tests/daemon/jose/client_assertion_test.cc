// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/client_assertion.h"

#include <gtest/gtest.h>

#include <set>

#include "base/json.h"

namespace smartkey {
namespace {

constexpr char kEndpoint[] = "https://ehr.example.com/oauth2/token";
const absl::Time kNow = absl::FromUnixMillis(1'800'000'000'900);

TEST(ClientAssertion, ClaimsAreExactlyThoseOfTheProtocol) {
  ClientAssertionClaims claims = MakeClientAssertionClaims("client-1", kEndpoint, kNow);
  claims.jti = std::string("j");
  EXPECT_EQ(ToJsonText(ToJson(claims)),
            R"({"aud":"https://ehr.example.com/oauth2/token","exp":1800000120,"iat":1799999970,)"
            R"("iss":"client-1","jti":"j","nbf":1799999970,"sub":"client-1"})");
}

TEST(ClientAssertion, TimesAreIntegersAndTheLifetimeIsFarBelowFiveMinutes) {
  const nlohmann::json claims = ToJson(MakeClientAssertionClaims("c", kEndpoint, kNow));
  EXPECT_TRUE(claims["iat"].is_number_integer());
  EXPECT_TRUE(claims["nbf"].is_number_integer());
  EXPECT_TRUE(claims["exp"].is_number_integer());
  EXPECT_LE(claims["exp"].get<int64_t>() - claims["iat"].get<int64_t>(), 200);
}

TEST(ClientAssertion, HandedOut_EndsAfterSixtySeconds) {
  const nlohmann::json claims = ToJson(MakeHandedOutAssertionClaims("c", kEndpoint, kNow));
  EXPECT_EQ(claims["exp"].get<int64_t>(), 1'800'000'060);
}

TEST(ClientAssertion, JtiIsNewEachTimeAndLongEnough) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string jti = MakeClientAssertionClaims("c", kEndpoint, kNow).jti;
    EXPECT_GE(jti.size(), 22u);  // 128 bits in base64url
    EXPECT_LE(jti.size(), 151u);
    EXPECT_TRUE(seen.insert(jti).second);
  }
}

}  // namespace
}  // namespace smartkey
