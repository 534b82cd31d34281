// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/revocation_endpoint.h"

#include "tests/daemon/oauth/oauth_testing.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"

namespace smartkey {
namespace {

constexpr char kUrl[] = "https://ehr.example/revoke";

absl::Status Revoke(FakeHttpClient& http, std::string client_assertion = "") {
  RevocationRequest request;
  request.revocation_endpoint = kUrl;
  request.access_token = Secret::CopyOf("tok");
  request.client_id = "G1";
  request.client_assertion = Secret::CopyOf(client_assertion);
  absl::Status result = absl::InternalError("not called");
  RevocationEndpoint(http).Revoke(std::move(request),
                                  [&](absl::Status status) { result = std::move(status); });
  return result;
}

TEST(RevocationEndpoint, TheTokenIsRevokedWithinFiveSecondsOrNotAtAll) {
  FakeClock clock;
  FakeHttpClient http(clock);
  http.Script(kUrl, FakeAnswer{.status = 200, .body = "", .content_type = ""});
  EXPECT_TRUE(Revoke(http).ok());
  const RecordedRequest sent = http.requests().at(0);
  EXPECT_EQ(sent.body, "token=tok&token_type_hint=access_token&client_id=G1");
  EXPECT_LE(sent.timeout, absl::Seconds(5));

  http.Script(kUrl, FakeAnswer{.status = 200});
  EXPECT_TRUE(Revoke(http, "a.b.c").ok());
  EXPECT_EQ(http.requests().at(1).Form("client_assertion"), "a.b.c");
}

TEST(RevocationEndpoint, AFailureIsToldAndNamesTheServer) {
  FakeClock clock;
  FakeHttpClient http(clock);
  http.Script(kUrl, FakeAnswer{.status = 503, .headers = {{"retry-after", "5"}}});
  const absl::Status busy = Revoke(http);
  EXPECT_EQ(NameOf(busy), NameOf(Reason::kServerBusy));
  EXPECT_EQ(RetryAfterOf(busy), absl::Seconds(5));
  EXPECT_TRUE(Says(busy, "revoking a token at https://ehr.example: "));
  http.Script(kUrl, FakeAnswer{.status = 400, .body = R"({"error":"unsupported_token_type"})"});
  EXPECT_EQ(NameOf(Revoke(http)), NameOf(Reason::kUnexpectedStatus));
}

}  // namespace
}  // namespace smartkey
