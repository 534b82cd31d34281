// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/token_endpoint.h"

#include "tests/daemon/oauth/oauth_testing.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"

namespace smartkey {
namespace {

constexpr char kUrl[] = "https://ehr.example/oauth/token?tenant=1";
constexpr char kGood[] = R"({"access_token":"tok","token_type":"Bearer","expires_in":300})";

class TokenEndpointTest : public ::testing::Test {
 protected:
  absl::StatusOr<AccessToken> Exchange(ScopeSet requested = {}) {
    CodeExchange exchange;
    exchange.address = {kUrl, "/etc/ca.pem", true};
    exchange.code = Secret::CopyOf("the code&=");
    exchange.redirect_uri = "http://127.0.0.1:1234/callback";
    exchange.client_id = "initial";
    exchange.code_verifier = Secret::CopyOf("verifier");
    exchange.requested_scopes = std::move(requested);
    absl::StatusOr<AccessToken> result = absl::InternalError("not called");
    endpoint_.ExchangeCode(std::move(exchange),
                           [&](absl::StatusOr<AccessToken> token) { result = std::move(token); });
    return result;
  }

  absl::StatusOr<AccessToken> Request(ScopeSet scopes = {}, std::string client_assertion = "") {
    AssertionGrant grant;
    grant.address = {kUrl, "", false};
    grant.assertion = Secret::CopyOf("header.claims.signature");
    grant.client_id = "G1234";
    grant.client_assertion = Secret::CopyOf(client_assertion);
    grant.scopes = std::move(scopes);
    absl::StatusOr<AccessToken> result = absl::InternalError("not called");
    endpoint_.RequestToken(std::move(grant),
                           [&](absl::StatusOr<AccessToken> token) { result = std::move(token); });
    return result;
  }

  FakeClock clock_;
  FakeHttpClient http_{clock_};
  TokenEndpoint endpoint_{http_, clock_};
};

TEST_F(TokenEndpointTest, TheCodeIsExchangedOnceOnAConnectionOfItsOwn) {
  http_.Script(kUrl, FakeAnswer{.body = kGood});
  const auto token = Exchange({"a"});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(*token->granted, ScopeSet{"a"});

  const RecordedRequest sent = http_.requests().at(0);
  EXPECT_EQ(sent.method, HttpRequest::Method::kPost);
  EXPECT_EQ(sent.content_type, "application/x-www-form-urlencoded");
  EXPECT_EQ(sent.accept, "application/json");
  EXPECT_EQ(sent.body,
            "grant_type=authorization_code&code=the%20code%26%3D"
            "&redirect_uri=http%3A%2F%2F127.0.0.1%3A1234%2Fcallback&client_id=initial"
            "&code_verifier=verifier");
  EXPECT_EQ(sent.bearer, "");
  EXPECT_TRUE(sent.single_use_connection);
  EXPECT_EQ(sent.ca_file, "/etc/ca.pem");
  EXPECT_TRUE(sent.allow_loopback_http);
}

TEST_F(TokenEndpointTest, TheAssertionIsSentAsTheGrant) {
  http_.Script(kUrl, FakeAnswer{.body = kGood});
  ASSERT_TRUE(Request().ok());
  const RecordedRequest sent = http_.requests().at(0);
  EXPECT_EQ(sent.body,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
            "&assertion=header.claims.signature&client_id=G1234");
  EXPECT_EQ(sent.bearer, "");
  for (const auto& [name, value] : sent.headers) {
    EXPECT_NE(name, "Authorization");
    EXPECT_NE(name, "Epic-Client-ID");
  }
}

TEST_F(TokenEndpointTest, ScopesAndClientAuthenticationAreSentWhenAskedFor) {
  http_.Script(kUrl, FakeAnswer{.body = kGood});
  const auto token = Request({"patient/*.rs", "launch"}, "second.jwt.here");
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(*token->granted, (ScopeSet{"launch", "patient/*.rs"}));
  const RecordedRequest sent = http_.requests().at(0);
  EXPECT_EQ(sent.Form("scope"), "launch patient/*.rs");
  EXPECT_EQ(sent.Form("client_assertion"), "second.jwt.here");
  EXPECT_EQ(sent.Form("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
}

TEST_F(TokenEndpointTest, LifetimeCountsFromWhenTheRequestWasSent) {
  http_.Hold();
  absl::StatusOr<AccessToken> token = absl::InternalError("not called");
  AssertionGrant grant;
  grant.address.token_endpoint = kUrl;
  http_.Script(kUrl, FakeAnswer{.body = kGood});
  const BootTime sent = clock_.Boot();
  endpoint_.RequestToken(std::move(grant),
                         [&](absl::StatusOr<AccessToken> result) { token = std::move(result); });
  clock_.Advance(absl::Seconds(20));
  http_.ReleaseAll();
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->expires, sent + absl::Seconds(300));
  EXPECT_EQ(token->expires_at, clock_.Now() + absl::Seconds(280));
  EXPECT_EQ(token->lifetime, absl::Seconds(280));
}

TEST_F(TokenEndpointTest, ARefusalNamesTheServerAndItsCode) {
  http_.Script(kUrl, FakeAnswer{.status = 400, .body = R"({"error":"invalid_grant"})"});
  const absl::Status status = Request().status();
  EXPECT_EQ(NameOf(status), NameOf(Reason::kRefusedByServer));
  EXPECT_EQ(ServerErrorCodeOf(status), "invalid_grant");
  EXPECT_EQ(status.message(),
            "requesting a token from https://ehr.example: the server answered invalid_grant");
}

TEST_F(TokenEndpointTest, AtTheCodeExchangeARefusalIsAboutTheCode) {
  for (const char* code : {"invalid_grant", "invalid_client", "unauthorized_client"}) {
    http_.Script(kUrl, FakeAnswer{.status = 400,
                                  .body = std::string("{\"error\":\"") + code + "\"}",
                                  .headers = {{"date", "Sun, 06 Nov 1994 08:49:37 GMT"}}});
    const absl::Status status = Exchange().status();
    EXPECT_EQ(NameOf(status), NameOf(Reason::kCodeRefused)) << code;
    EXPECT_EQ(ServerErrorCodeOf(status), code);
    EXPECT_TRUE(ClockOffsetOf(status).has_value());
  }
  http_.Script(kUrl, FakeAnswer{.status = 503});
  EXPECT_EQ(NameOf(Exchange().status()), NameOf(Reason::kServerBusy));
}

TEST_F(TokenEndpointTest, OtherSuccessesAndFailuresKeepTheirReason) {
  for (const int status : {201, 202, 204, 404}) {
    http_.Script(kUrl, FakeAnswer{.status = status, .body = kGood});
    EXPECT_EQ(NameOf(Request().status()), NameOf(Reason::kUnexpectedStatus)) << status;
  }
  http_.Script(kUrl,
               MarkNothingWasSent(MakeError(Reason::kNoNetwork, "https://ehr.example: no name")));
  const absl::Status status = Request().status();
  EXPECT_EQ(NameOf(status), NameOf(Reason::kNoNetwork));
  EXPECT_TRUE(NothingWasSent(status));
}

TEST_F(TokenEndpointTest, NoSecretIsInAnyMessage) {
  for (const FakeAnswer& answer :
       {FakeAnswer{.status = 400,
       .body = R"({"error":"invalid_grant","error_description":"got )"
               R"(eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJhYmMifQ.c2lnbmF0dXJl"})"},
        FakeAnswer{.status = 200, .body = R"({"access_token":"eyJhbGciOi)"},
        FakeAnswer{.status = 200,
        .body = R"({"access_token":"eyJhbGciOi x","token_type":"Bearer"})"},
        FakeAnswer{.status = 302, .headers = {{"location", "https://x.example/?a=eyJhbGciOi"}}}}) {
    http_.Script(kUrl, answer);
    const absl::Status status = Request().status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.ToString().find("eyJhbGciOi"), std::string::npos) << status;
    EXPECT_EQ(status.ToString().find("header.claims"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace smartkey
