// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/http_client.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"

namespace smartkey {
namespace {

TEST(NothingWasSent, TheMarkSurvivesAnnotationAndIsOffByDefault) {
  const absl::Status status = MakeError(Reason::kServerUnreachable, "no connection");
  EXPECT_FALSE(NothingWasSent(status));
  EXPECT_TRUE(NothingWasSent(Annotate(MarkNothingWasSent(status), "asking")));
  EXPECT_TRUE(MarkNothingWasSent(absl::OkStatus()).ok());
}

TEST(HttpResponse, TheFirstOfSeveralHeadersIsFound) {
  HttpResponse response;
  response.headers = {{"a", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(response.FindHeader("a"), "1");
  EXPECT_EQ(response.FindHeader("c"), absl::nullopt);
}

class FakeHttpClientTest : public ::testing::Test {
 protected:
  HttpClient::CallId Send(const std::string& url) {
    HttpRequest request;
    request.url = url;
    return http_.Send(std::move(request), [this](absl::StatusOr<HttpResponse> response) {
      results_.push_back(response.ok() ? std::to_string(response->status)
                                       : std::string(ReasonName(ReasonOf(response.status()))));
    });
  }

  FakeClock clock_;
  FakeHttpClient http_{clock_};
  std::vector<std::string> results_;
};

TEST_F(FakeHttpClientTest, ScriptsComeBeforeHandlersAndEverythingElseIsNotFound) {
  http_.Handle("u", [](const RecordedRequest&) { return FakeAnswer{.status = 201}; });
  http_.Script("u", FakeAnswer{.status = 500});
  http_.Script("u", MakeError(Reason::kNoNetwork, "no network"));
  for (const char* url : {"u", "u", "u", "other"}) Send(url);
  EXPECT_EQ(results_, (std::vector<std::string>{"500", "NO_NETWORK", "201", "404"}));
  EXPECT_EQ(http_.requests("u").size(), 3u);
}

TEST_F(FakeHttpClientTest, HeldCallsWaitForReleaseOrCancel) {
  http_.Hold();
  const HttpClient::CallId first = Send("u");
  Send("u");
  EXPECT_TRUE(results_.empty());
  http_.Cancel(first);
  EXPECT_EQ(results_, (std::vector<std::string>{"CANCELLED"}));
  EXPECT_TRUE(http_.Release());
  EXPECT_FALSE(http_.Release());
  EXPECT_EQ(results_, (std::vector<std::string>{"CANCELLED", "404"}));
}

}  // namespace
}  // namespace smartkey
