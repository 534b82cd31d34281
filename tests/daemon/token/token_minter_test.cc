// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_minter.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/daemon/token/token_fixture.h"
#include "tests/fakes/fake_http_client.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

constexpr char kToken[] =
    R"({"access_token":"the-token","token_type":"Bearer","expires_in":3600,"patient":"p1"})";
constexpr char kInvalidGrant[] = R"({"error":"invalid_grant"})";

class TokenMinterTest : public testing::Test {
 protected:
  TokenMinterTest() {
    const CreatedKey key = keys_.MakeKey(SignatureAlgorithm::kEs256);
    Generation& generation = registration_.generations[0];
    generation.key = key.reference;
    generation.public_key = key.public_key;
    generation.algorithm = key.algorithm;
    generation.thumbprint = "the-kid";
    generation.assertion_audience = "https://ehr.example/audience";
  }

  absl::StatusOr<AccessToken> Mint(const ScopeSet& scopes = {}) {
    absl::StatusOr<AccessToken> minted = absl::UnknownError("no answer");
    minter_.Mint(registration_, registration_.generations[0], scopes, 1000,
                 [&](absl::StatusOr<AccessToken> result) { minted = std::move(result); });
    return minted;
  }

  // An answer whose Date is `ahead` of this machine's clock.
  FakeAnswer At(absl::Duration ahead, int status, std::string body) const {
    return FakeAnswer{
        .status = status,
        .body = std::move(body),
        .headers = {{"date", absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", clock_.Now() + ahead,
                                              absl::UTCTimeZone())}}};
  }

  std::vector<nlohmann::json> Claims() const {
    std::vector<nlohmann::json> all;
    for (const RecordedRequest& request : http_.requests()) {
      const std::vector<std::string> parts = absl::StrSplit(request.Form("assertion"), '.');
      all.push_back(nlohmann::json::parse(*Base64UrlDecode(parts.at(1))));
    }
    return all;
  }
  // How far iat + 30 s is from the clock, for the n-th request.
  int64_t AssumedOffset(size_t n) const {
    return Claims().at(n)["iat"].get<int64_t>() + 30 - absl::ToUnixSeconds(clock_.Now());
  }
  size_t sends() const { return http_.requests().size(); }

  FakeClock clock_;
  FakeHttpClient http_{clock_};
  FakeKeyService keys_;
  JwtSigner signer_{keys_};
  TokenEndpoint endpoint_{http_, clock_};
  AssertionTokenMinter minter_{signer_, endpoint_, clock_};
  Registration registration_ = MakeRegistration("r1");
};

TEST_F(TokenMinterTest, AClientThatMustAuthenticateSendsASecondAssertionWithItsOwnJti) {
  registration_.generations[0].requires_client_authentication = true;
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  ASSERT_EQ(http_.requests().size(), 1u);
  const RecordedRequest request = http_.requests()[0];
  EXPECT_EQ(request.Form("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
  const auto claims = [&](const std::string& name) {
    const std::vector<std::string> parts = absl::StrSplit(request.Form(name), '.');
    return nlohmann::json::parse(*Base64UrlDecode(parts.at(1)));
  };
  EXPECT_EQ(claims("client_assertion")["sub"], claims("assertion")["sub"]);
  EXPECT_NE(claims("client_assertion")["jti"], claims("assertion")["jti"]);
}

TEST_F(TokenMinterTest, ServerAgrees_SendsOneSignedAssertionForTheClient) {
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  const absl::StatusOr<AccessToken> token = Mint({"patient/*.rs", "launch"});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->value.RevealSecret(), "the-token");
  EXPECT_EQ(token->key_thumbprint, "the-kid");
  ASSERT_EQ(sends(), 1u);
  const RecordedRequest sent = http_.requests()[0];
  EXPECT_EQ(sent.Form("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
  EXPECT_EQ(sent.Form("client_id"), "client-of-r1");
  EXPECT_EQ(sent.Form("scope"), "launch patient/*.rs");
  const std::vector<std::string> parts = absl::StrSplit(sent.Form("assertion"), '.');
  EXPECT_EQ(nlohmann::json::parse(*Base64UrlDecode(parts[0]))["kid"], "the-kid");
  EXPECT_EQ(Claims()[0]["aud"], "https://ehr.example/audience");
  EXPECT_TRUE(VerifySignature(registration_.generations[0].public_key, SignatureAlgorithm::kEs256,
                              parts[0] + "." + parts[1], *Base64UrlDecode(parts[2])));
  EXPECT_EQ(keys_.sign_requests()[0].caller, 1000u);
}

TEST_F(TokenMinterTest, ManyRequestsAndRetries_NeverRepeatAJti) {
  for (int i = 0; i < 20; ++i) {
    http_.Script(kEndpoint, FakeAnswer{.status = 400, .body = kInvalidGrant});
    http_.Script(kEndpoint, FakeAnswer{.body = kToken});
    ASSERT_TRUE(Mint().ok());
  }
  std::set<std::string> jtis;
  for (const auto& claims : Claims()) jtis.insert(claims["jti"].get<std::string>());
  EXPECT_EQ(sends(), 40u);
  EXPECT_EQ(jtis.size(), 40u);
}

TEST_F(TokenMinterTest, RefusedTwice_IsNotTriedAThirdTime) {
  http_.Handle(kEndpoint, [](const RecordedRequest&) {
    return FakeAnswer{.status = 400, .body = kInvalidGrant};
  });
  EXPECT_EQ(ReasonOf(Mint().status()), Reason::kRefusedByServer);
  EXPECT_EQ(sends(), 2u);
}

TEST_F(TokenMinterTest, OtherFailures_AreNotTriedAgainHere) {
  const struct {
    FakeHttpClient::Result answer;
    Reason reason;
  } rows[] = {
      {FakeAnswer{.status = 400, .body = R"({"error":"unauthorized_client"})"},
       Reason::kMisconfigured},
      {FakeAnswer{.status = 400, .body = R"({"error":"invalid_scope"})"}, Reason::kInvalidScope},
      {FakeAnswer{.status = 400, .body = R"({"error":"invalid_request"})"},
       Reason::kRequestRefused},
      {FakeAnswer{.status = 503}, Reason::kServerBusy},
      {FakeAnswer{.status = 500}, Reason::kServerError},
      {FakeAnswer{.status = 404, .content_type = "text/plain"}, Reason::kUnexpectedStatus},
      {FakeAnswer{.body = "{"}, Reason::kBadServerAnswer},
      {MakeError(Reason::kServerUnreachable, "broken"), Reason::kServerUnreachable},
  };
  for (const auto& row : rows) {
    const size_t before = sends();
    http_.Script(kEndpoint, row.answer);
    EXPECT_EQ(ReasonOf(Mint().status()), row.reason);
    EXPECT_EQ(sends(), before + 1) << ReasonName(row.reason);
  }
}

TEST_F(TokenMinterTest, ClockIsTenMinutesSlow_TriesAgainWithTheServersTimeAndRemembersIt) {
  http_.Script(kEndpoint, At(absl::Minutes(10), 400, kInvalidGrant));
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  EXPECT_EQ(AssumedOffset(0), 0);
  EXPECT_NEAR(static_cast<double>(AssumedOffset(1)), 600, 1);

  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  EXPECT_NEAR(static_cast<double>(AssumedOffset(2)), 600, 1);
}

TEST_F(TokenMinterTest, OffsetOfOneServer_IsNotUsedForAnother) {
  http_.Script(kEndpoint, At(absl::Minutes(10), 400, kInvalidGrant));
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  registration_.generations[0].token_endpoint = "https://other.example/token";
  http_.Script("https://other.example/token", FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  EXPECT_EQ(AssumedOffset(2), 0);
}

TEST_F(TokenMinterTest, ClockIsPutRight_ForgetsTheOffset) {
  http_.Script(kEndpoint, At(absl::Minutes(10), 400, kInvalidGrant));
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  http_.Script(kEndpoint, At(absl::ZeroDuration(), 400, kInvalidGrant));
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  EXPECT_EQ(AssumedOffset(3), 0);
}

TEST_F(TokenMinterTest, DateIsHalfAMinuteOff_IsNoReasonToDoubtTheClock) {
  http_.Script(kEndpoint, At(absl::Seconds(25), 400, kInvalidGrant));
  http_.Script(kEndpoint, FakeAnswer{.body = kToken});
  ASSERT_TRUE(Mint().ok());
  EXPECT_EQ(AssumedOffset(1), 0);
}

TEST_F(TokenMinterTest, ClockIsMoreThanFifteenMinutesOff_SaysSoInsteadOfTryingAgain) {
  for (const absl::Duration offset : {absl::Minutes(16), -absl::Minutes(16)}) {
    const size_t before = sends();
    http_.Script(kEndpoint, At(offset, 400, kInvalidGrant));
    EXPECT_EQ(ReasonOf(Mint().status()), Reason::kClockWrong);
    EXPECT_EQ(sends(), before + 1);
  }
}

TEST_F(TokenMinterTest, HardwareFails_NothingIsSent) {
  keys_.FailNextSign(MakeError(Reason::kTpmLockout, "locked out"));
  EXPECT_EQ(ReasonOf(Mint().status()), Reason::kTpmLockout);
  keys_.set_wrong_signatures(true);
  EXPECT_EQ(ReasonOf(Mint().status()), Reason::kSignatureWrong);
  EXPECT_EQ(sends(), 0u);
}

TEST_F(TokenMinterTest, AnyFailure_CarriesNoAssertion) {
  http_.Handle(kEndpoint, [](const RecordedRequest& request) {
    // A server that sends back what it got.
    return FakeAnswer{.status = 400,
                      .body = nlohmann::json{{"error", "invalid_grant"},
                                             {"error_description", request.Form("assertion")}}
                                  .dump()};
  });
  const std::string message = Mint().status().ToString();
  for (const RecordedRequest& request : http_.requests()) {
    const std::vector<std::string> parts = absl::StrSplit(request.Form("assertion"), '.');
    EXPECT_EQ(message.find(parts.at(1)), std::string::npos);
    EXPECT_EQ(message.find(parts.at(2)), std::string::npos);
  }
}

}  // namespace
}  // namespace smartkey
