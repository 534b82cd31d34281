// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/assertion_issuer.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/daemon/token/token_fixture.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

class AssertionIssuerTest : public testing::Test {
 protected:
  AssertionIssuerTest() {
    const CreatedKey key = keys_.MakeKey(SignatureAlgorithm::kEs256);
    registration_.generations[0].key = key.reference;
    registration_.generations[0].public_key = key.public_key;
    registration_.generations[0].algorithm = key.algorithm;
    registration_.generations[0].thumbprint = "the-thumbprint";
    registration_.generations[0].assertion_audience = "https://ehr.example/audience";
  }

  absl::StatusOr<IssuedAssertion> Issue() {
    absl::StatusOr<IssuedAssertion> issued = absl::UnknownError("no answer");
    issuer_.Issue(registration_, 1000, BootTime::InfiniteFuture(),
                  [&](absl::StatusOr<IssuedAssertion> result) { issued = std::move(result); });
    return issued;
  }

  FakeClock clock_;
  FakeKeyService keys_;
  JwtSigner signer_{keys_};
  CurrentCatalog catalog_{MakeCatalog()};
  AssertionIssuer issuer_{catalog_, signer_, clock_};
  Registration registration_ = MakeRegistration("r1");
};

TEST_F(AssertionIssuerTest, OwnerAsks_GetsASignedAssertionThatLivesAMinute) {
  const absl::StatusOr<IssuedAssertion> issued = Issue();
  ASSERT_TRUE(issued.ok()) << issued.status();
  EXPECT_EQ(issued->client_id, "client-of-r1");
  EXPECT_EQ(issued->token_endpoint, kEndpoint);
  EXPECT_EQ(issued->expires_at, clock_.Now() + absl::Seconds(60));

  const std::vector<std::string> parts =
      absl::StrSplit(std::string(issued->assertion.RevealSecret()), '.');
  ASSERT_EQ(parts.size(), 3u);
  const auto claims = nlohmann::json::parse(*Base64UrlDecode(parts[1]));
  EXPECT_EQ(claims["iss"], "client-of-r1");
  EXPECT_EQ(claims["sub"], "client-of-r1");
  EXPECT_EQ(claims["aud"], "https://ehr.example/audience");
  EXPECT_EQ(claims["jti"], issued->jti);
  EXPECT_EQ(claims["exp"], absl::ToUnixSeconds(clock_.Now()) + 60);
  EXPECT_TRUE(VerifySignature(registration_.generations[0].public_key, SignatureAlgorithm::kEs256,
                              parts[0] + "." + parts[1], *Base64UrlDecode(parts[2])));
}

TEST_F(AssertionIssuerTest, TwoAssertions_HaveDifferentJtis) {
  EXPECT_NE(Issue()->jti, Issue()->jti);
}

TEST_F(AssertionIssuerTest, RegistrationGivesNoTokens_SignsNothing) {
  registration_.suspension = Suspension();
  EXPECT_EQ(ReasonOf(Issue().status()), Reason::kSuspended);
  registration_.suspension.reset();
  registration_.generations[0].state = GenerationState::kReauthRequired;
  EXPECT_EQ(ReasonOf(Issue().status()), Reason::kReauthRequired);
  EXPECT_EQ(keys_.signs(), 0);
}

}  // namespace
}  // namespace smartkey
