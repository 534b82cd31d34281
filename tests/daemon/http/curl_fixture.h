// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "daemon/http/curl/curl_http_client.h"
#include "tests/support/test_http_server.h"

namespace smartkey {

class CurlFixture : public ::testing::Test {
 protected:
  using Result = absl::StatusOr<HttpResponse>;

  std::unique_ptr<CurlHttpClient> MakeClient(CurlHttpOptions options = {}) {
    auto client = CurlHttpClient::Create(std::move(options), clock_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  static HttpRequest Get(std::string url) {
    HttpRequest request;
    request.url = std::move(url);
    request.allow_loopback_http = true;
    request.timeout = absl::Seconds(20);
    return request;
  }

  static HttpRequest Post(std::string url, absl::string_view body) {
    HttpRequest request = Get(std::move(url));
    request.method = HttpRequest::Method::kPost;
    request.content_type = "application/x-www-form-urlencoded";
    request.body = Secret::CopyOf(body);
    return request;
  }

  static std::future<Result> Start(HttpClient& client, HttpRequest request,
                                   HttpClient::CallId* id = nullptr) {
    auto promise = std::make_shared<std::promise<Result>>();
    std::future<Result> future = promise->get_future();
    const HttpClient::CallId call = client.Send(
        std::move(request), [promise](Result result) { promise->set_value(std::move(result)); });
    EXPECT_NE(call, 0u);
    if (id != nullptr) *id = call;
    return future;
  }

  static Result Call(HttpClient& client, HttpRequest request) {
    return Start(client, std::move(request)).get();
  }

  static absl::Status Probe(HttpClient& client, HttpRequest request) {
    std::promise<absl::Status> promise;
    client.Probe(std::move(request), [&](absl::Status status) { promise.set_value(status); });
    return promise.get_future().get();
  }

  static void AnswerOk(const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Answer(200, "{}");
  }

  SystemClock clock_;
};

// Compared and printed by name.
#define EXPECT_REASON(result, reason)                                                              \
  EXPECT_EQ(std::string(ReasonName(ReasonOf((result).status()))), std::string(ReasonName(reason))) \
      << (result).status()

}  // namespace smartkey
