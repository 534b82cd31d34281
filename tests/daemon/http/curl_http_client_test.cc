// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/daemon/http/curl_fixture.h"
#include "tests/daemon/http/resolver_double.h"

namespace smartkey {
namespace {

using CurlHttpClientTest = CurlFixture;

void AnswerNever(const TestHttpRequest&, TestHttpConnection& connection) {
  connection.WaitForEnd();
}

// Threads of this process that are an HTTP client's.
int HttpThreads() {
  int count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    std::getline(file, name);
    count += name == "http";
  }
  return count;
}

TEST_F(CurlHttpClientTest, AGetCarriesWhatWasAskedForAndNothingElse) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  HttpRequest request = Get(server.Url("/metadata?x=1"));
  request.accept = "application/fhir+json";
  request.headers = {{"Epic-Client-ID", "abc"}};
  ASSERT_TRUE(Call(*client, std::move(request)).ok());

  ASSERT_EQ(server.requests().size(), 1u);
  const TestHttpRequest seen = server.requests()[0];
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target, "/metadata?x=1");
  std::vector<std::string> names;
  for (const auto& [name, value] : seen.headers) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"host", "user-agent", "accept", "accept-encoding",
                                             "epic-client-id"}));
  EXPECT_EQ(seen.Header("accept"), "application/fhir+json");
  EXPECT_EQ(seen.Header("accept-encoding"), "identity");
  EXPECT_EQ(seen.Header("user-agent").substr(0, 10), "smartkeyd/");
}

TEST_F(CurlHttpClientTest, APostCarriesItsBodyWithItsLengthAndTheBearer) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  const std::string body(
      5000, 'x');  // from 1 MB on, or in old versions 1 KB, libcurl would expect 100-continue
  HttpRequest request = Post(server.Url("/token"), body);
  request.bearer = Secret::CopyOf("initial-token");
  ASSERT_TRUE(Call(*client, std::move(request)).ok());

  const TestHttpRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.body, body);
  EXPECT_EQ(seen.Header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(seen.Header("content-length"), "5000");
  EXPECT_EQ(seen.Header("authorization"), "Bearer initial-token");
  EXPECT_FALSE(seen.HasHeader("expect"));
  EXPECT_FALSE(seen.HasHeader("transfer-encoding"));
}

TEST_F(CurlHttpClientTest, PutDeleteAndAnEmptyPostAreWhatTheySay) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  HttpRequest put = Post(server.Url("/client"), "{}");
  put.method = HttpRequest::Method::kPut;
  HttpRequest remove = Get(server.Url("/client"));
  remove.method = HttpRequest::Method::kDelete;
  ASSERT_TRUE(Call(*client, std::move(put)).ok());
  ASSERT_TRUE(Call(*client, std::move(remove)).ok());
  ASSERT_TRUE(Call(*client, Post(server.Url("/client"), "")).ok());
  EXPECT_EQ(server.requests()[0].method, "PUT");
  EXPECT_EQ(server.requests()[0].body, "{}");
  EXPECT_EQ(server.requests()[1].method, "DELETE");
  EXPECT_EQ(server.requests()[2].method, "POST");
  EXPECT_EQ(server.requests()[2].Header("content-length"), "0");
}

TEST_F(CurlHttpClientTest, AnAnswerIsReadInItsParts) {
  TestHttpServer server([](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Write("HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n");
    connection.Answer(429, "{\"error\":\"slow_down\"}", "Application/JSON; charset=utf-8",
                      "Retry-After: 7\r\nSet-Cookie: session=1\r\n");
  });
  const auto client = MakeClient();
  const BootTime before = clock_.Boot();
  const Result result = Call(*client, Get(server.Url("/")));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->status, 429);
  EXPECT_EQ(result->content_type, "application/json");
  EXPECT_EQ(result->FindHeader("retry-after"), "7");
  EXPECT_EQ(result->FindHeader("x-interim"), absl::nullopt);
  EXPECT_EQ(result->FindHeader("set-cookie"), absl::nullopt);
  EXPECT_EQ(result->body.RevealSecret(), "{\"error\":\"slow_down\"}");
  EXPECT_GE(result->sent_at, before);
  EXPECT_LE(result->sent_at, clock_.Boot());
}

TEST_F(CurlHttpClientTest, ARedirectIsAnAnswerAndIsNotFollowed) {
  TestHttpServer other(AnswerOk);
  for (const int status : {301, 302, 303, 307, 308}) {
    TestHttpServer server([&](const TestHttpRequest&, TestHttpConnection& connection) {
      connection.Answer(status, "", "text/plain",
                        absl::StrCat("Location: ", other.Url("/elsewhere"), "\r\n"));
    });
    const auto client = MakeClient();
    const Result result = Call(*client, Post(server.Url("/token"), "assertion=x"));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->status, status);
    EXPECT_EQ(result->FindHeader("location"), other.Url("/elsewhere"));
  }
  EXPECT_EQ(other.connections(), 0);
}

TEST_F(CurlHttpClientTest, CookiesAreNotSentBack) {
  TestHttpServer server([](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Answer(200, "{}", "application/json", "Set-Cookie: session=1; Path=/\r\n");
  });
  const auto client = MakeClient();
  ASSERT_TRUE(Call(*client, Get(server.Url("/"))).ok());
  ASSERT_TRUE(Call(*client, Get(server.Url("/"))).ok());
  EXPECT_FALSE(server.requests().at(1).HasHeader("cookie"));
}

TEST_F(CurlHttpClientTest, RequestsThatAreNotAllowedNeverLeave) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  std::vector<HttpRequest> requests;
  requests.push_back(Get(server.Url("/")));
  requests.back().allow_loopback_http = false;
  requests.push_back(Get("http://ehr.test/"));
  requests.push_back(Get("ftp://127.0.0.1/"));
  requests.push_back(Get("file:///etc/passwd"));
  requests.push_back(Get(absl::StrCat("http://me:secret@127.0.0.1:", server.port(), "/")));
  requests.push_back(Get(server.Url("/#fragment")));
  requests.push_back(Get(server.Url("/")));
  requests.back().headers = {{"X-A", "1\r\nX-B: 2"}};
  requests.push_back(Get(server.Url("/")));
  requests.back().bearer = Secret::CopyOf("secret\r\nX-B: 2");
  for (HttpRequest& request : requests) {
    const Result result = Call(*client, std::move(request));
    EXPECT_REASON(result, Reason::kInvalidArgument);
    EXPECT_TRUE(NothingWasSent(result.status()));
    EXPECT_FALSE(absl::StrContains(result.status().message(), "secret")) << result.status();
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(CurlHttpClientTest, ABodyOverTheLimitIsGivenUpWhetherAnnouncedOrNot) {
  constexpr size_t kHuge = 16 * 1024 * 1024;
  std::promise<size_t> streamed;
  TestHttpServer server([&](const TestHttpRequest& request, TestHttpConnection& connection) {
    if (request.target == "/announced") {
      connection.Write(absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", kHuge, "\r\n\r\n"));
      connection.WaitForEnd();
      return;
    }
    connection.Write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
    const std::string chunk(64 * 1024, ' ');
    while (connection.bytes_written() < kHuge && connection.Write(chunk)) {
    }
    streamed.set_value(connection.bytes_written());
    connection.Close();
  });
  const auto client = MakeClient();
  for (const char* target : {"/announced", "/streamed"}) {
    const Result result = Call(*client, Get(server.Url(target)));
    EXPECT_REASON(result, Reason::kBadServerAnswer);
    EXPECT_FALSE(NothingWasSent(result.status()));
  }
  // What went out went into socket buffers; the client hung up.
  EXPECT_LT(streamed.get_future().get(), kHuge);
}

TEST_F(CurlHttpClientTest, ABodyOfExactlyTheLimitIsTaken) {
  TestHttpServer server([](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Answer(200, std::string(1000, 'x'));
  });
  const auto client = MakeClient();
  HttpRequest request = Get(server.Url("/"));
  request.max_body = 1000;
  EXPECT_TRUE(Call(*client, std::move(request)).ok());
  request = Get(server.Url("/"));
  request.max_body = 999;
  EXPECT_REASON(Call(*client, std::move(request)), Reason::kBadServerAnswer);
}

TEST_F(CurlHttpClientTest, HeadersOverTheLimitAreGivenUp) {
  TestHttpServer server([](const TestHttpRequest& request, TestHttpConnection& connection) {
    if (request.target == "/many") {
      connection.Write("HTTP/1.1 200 OK\r\n");
      while (connection.bytes_written() < 1 << 20 && connection.Write("X-Filler: 0123456789\r\n")) {
      }
    } else if (request.target == "/one") {
      connection.Write(absl::StrCat("HTTP/1.1 200 OK\r\nX-Filler: ", std::string(1 << 20, 'x')));
    } else {
      while (connection.bytes_written() < 1 << 20 &&
             connection.Write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")) {
      }
    }
    connection.WaitForEnd();
  });
  const auto client = MakeClient();
  for (const char* target : {"/many", "/one", "/interim"}) {
    SCOPED_TRACE(target);
    EXPECT_REASON(Call(*client, Get(server.Url(target))), Reason::kBadServerAnswer);
  }
}

TEST_F(CurlHttpClientTest, BytesThatAreNoHttpAreABadAnswer) {
  for (const char* garbage : {"SSH-2.0-OpenSSH_9.2\r\n", "\x16\x03\x01\x00\x05 tls here",
                              "HTTP/7.3 maybe\r\n\r\n", "<html>hello</html>\r\n\r\n"}) {
    TestHttpServer server([&](const TestHttpRequest&, TestHttpConnection& connection) {
      connection.Write(garbage);
      connection.Close();
    });
    const auto client = MakeClient();
    SCOPED_TRACE(garbage);
    EXPECT_REASON(Call(*client, Get(server.Url("/"))), Reason::kBadServerAnswer);
  }
}

TEST_F(CurlHttpClientTest, ACompressedAnswerIsNotTaken) {
  TestHttpServer server([](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Answer(200, "\x1f\x8b", "application/json", "Content-Encoding: gzip\r\n");
  });
  const auto client = MakeClient();
  EXPECT_REASON(Call(*client, Get(server.Url("/"))), Reason::kBadServerAnswer);
}

TEST_F(CurlHttpClientTest, AConnectionThatBreaksAfterTheRequestLeavesTheWorkInDoubt) {
  for (const char* partial :
       {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"}) {
    TestHttpServer server([&](const TestHttpRequest&, TestHttpConnection& connection) {
      connection.Write(partial);
      connection.Close();
    });
    const auto client = MakeClient();
    SCOPED_TRACE(partial);
    const Result result = Call(*client, Post(server.Url("/token?q=secret"), "assertion=secret"));
    EXPECT_REASON(result, Reason::kServerUnreachable);
    EXPECT_FALSE(NothingWasSent(result.status()));
    EXPECT_FALSE(absl::StrContains(result.status().message(), "secret")) << result.status();
    EXPECT_EQ(server.requests().size(), 1u);
  }
}

TEST_F(CurlHttpClientTest, WithoutAConnectionNothingWasSent) {
  int port;
  {
    TestHttpServer gone(AnswerOk);
    port = gone.port();
  }
  const auto client = MakeClient();
  const Result refused = Call(*client, Post(absl::StrCat("http://127.0.0.1:", port, "/"), "x"));
  EXPECT_REASON(refused, Reason::kServerUnreachable);
  EXPECT_TRUE(NothingWasSent(refused.status()));

  const Result unknown = Call(*client, Post("https://nobody.test/token", "x"));
  EXPECT_REASON(unknown, Reason::kNoNetwork);
  EXPECT_TRUE(NothingWasSent(unknown.status()));
}

TEST_F(CurlHttpClientTest, ASlowResolverHoldsUpNobodyElse) {
  TestHttpServer server(AnswerOk);
  HangingResolver resolver;
  {
    const auto client = MakeClient();
    HttpRequest slow = Get("https://hang.test/");
    slow.timeout = absl::Milliseconds(200);
    std::future<Result> timed_out = Start(*client, std::move(slow));
    HttpClient::CallId id = 0;
    std::future<Result> cancelled = Start(*client, Get("https://hang.test/"), &id);
    resolver.WaitForLookup();
    client->Cancel(id);
    EXPECT_REASON(cancelled.get(), Reason::kCancelled);
    EXPECT_REASON(timed_out.get(), Reason::kServerUnreachable);
    EXPECT_TRUE(Call(*client, Get(server.Url("/"))).ok());

    std::future<Result> at_the_end = Start(*client, Get("https://hang.test/"));
    EXPECT_EQ(at_the_end.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  }  // the client goes although a lookup hangs
}

TEST_F(CurlHttpClientTest, AServerThatHangsOrDripsIsGivenUpAtTheTimeout) {
  TestHttpServer server([](const TestHttpRequest& request, TestHttpConnection& connection) {
    if (request.target == "/drip") {
      connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n");
      while (connection.Write(" ")) absl::SleepFor(absl::Milliseconds(20));
    }
    connection.WaitForEnd();
  });
  const auto client = MakeClient();
  for (const char* target : {"/hang", "/drip"}) {
    SCOPED_TRACE(target);
    HttpRequest request = Get(server.Url(target));
    request.timeout = absl::Milliseconds(200);
    const Result result = Call(*client, std::move(request));
    EXPECT_REASON(result, Reason::kServerUnreachable);
    EXPECT_FALSE(NothingWasSent(result.status()));
  }
  EXPECT_TRUE(server.WaitForNoConnection());
}

TEST_F(CurlHttpClientTest, ACancelledCallEndsAndHangsUp) {
  TestHttpServer server(AnswerNever);
  const auto client = MakeClient();
  HttpClient::CallId id = 0;
  std::future<Result> call = Start(*client, Post(server.Url("/"), "x"), &id);
  ASSERT_TRUE(server.WaitForRequests(1));
  client->Cancel(id);
  const Result result = call.get();
  EXPECT_REASON(result, Reason::kCancelled);
  EXPECT_FALSE(NothingWasSent(result.status()));
  EXPECT_TRUE(server.WaitForNoConnection());
  client->Cancel(id);  // a second time, and one that never was: nothing happens
  client->Cancel(999999);
}

TEST_F(CurlHttpClientTest, TheDestructorEndsEveryCall) {
  TestHttpServer server(AnswerNever);
  auto client = MakeClient();
  std::vector<std::future<Result>> calls;
  for (int i = 0; i < 5; ++i) calls.push_back(Start(*client, Get(server.Url("/"))));
  ASSERT_TRUE(server.WaitForRequests(5));
  client.reset();
  for (std::future<Result>& call : calls) EXPECT_REASON(call.get(), Reason::kShuttingDown);
  EXPECT_EQ(HttpThreads(), 0);
}

TEST_F(CurlHttpClientTest, ACallbackMaySendTheNextRequest) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  std::promise<bool> second;
  client->Send(Get(server.Url("/1")), [&](Result) {
    client->Send(Get(server.Url("/2")), [&](Result result) { second.set_value(result.ok()); });
  });
  EXPECT_TRUE(second.get_future().get());
}

TEST_F(CurlHttpClientTest, TwoHundredHungCallsNeedOneThreadAndBlockNoOther) {
  TestHttpServer hung(AnswerNever);
  TestHttpServer well(AnswerOk);
  const auto client = MakeClient();
  std::vector<HttpClient::CallId> ids(200);
  std::vector<std::future<Result>> calls;
  for (HttpClient::CallId& id : ids) calls.push_back(Start(*client, Get(hung.Url("/")), &id));
  ASSERT_TRUE(hung.WaitForRequests(200));
  EXPECT_EQ(HttpThreads(), 1);
  EXPECT_TRUE(Call(*client, Get(well.Url("/"))).ok());
  for (const HttpClient::CallId id : ids) client->Cancel(id);
  for (std::future<Result>& call : calls) EXPECT_REASON(call.get(), Reason::kCancelled);
  EXPECT_TRUE(hung.WaitForNoConnection());
}

TEST_F(CurlHttpClientTest, ConnectionsAreReusedUnlessARequestWantsItsOwn) {
  TestHttpServer server(AnswerOk);
  const auto client = MakeClient();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Call(*client, Post(server.Url("/"), "x")).ok());
  EXPECT_EQ(server.connections(), 1);
  for (int i = 0; i < 2; ++i) {
    HttpRequest request = Post(server.Url("/"), "x");
    request.single_use_connection = true;
    ASSERT_TRUE(Call(*client, std::move(request)).ok());
  }
  EXPECT_EQ(server.connections(), 3);
  ASSERT_TRUE(Call(*client, Post(server.Url("/"), "x")).ok());
  EXPECT_EQ(server.connections(), 3);
}

TEST_F(CurlHttpClientTest, ABodyIsNotSentAgainWhenAKeptConnectionBreaks) {
  TestHttpServer server([](const TestHttpRequest& request, TestHttpConnection& connection) {
    if (request.target == "/first") {
      connection.Answer(200, "{}");
    } else {
      connection.Close();  // having read all of it
    }
  });
  const auto client = MakeClient();
  ASSERT_TRUE(Call(*client, Post(server.Url("/first"), "x")).ok());
  const Result result = Call(*client, Post(server.Url("/second"), "assertion=once"));
  EXPECT_REASON(result, Reason::kServerUnreachable);
  EXPECT_FALSE(NothingWasSent(result.status()));
  int sent = 0;
  for (const TestHttpRequest& request : server.requests()) sent += request.body == "assertion=once";
  EXPECT_EQ(sent, 1);
}

TEST_F(CurlHttpClientTest, TheEnvironmentIsNotRead) {
  TestHttpServer proxy(AnswerOk);
  TestHttpServer server(AnswerOk);
  const std::string url = proxy.Url("");
  const char* const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                               "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};
  for (const char* name : names) setenv(name, url.c_str(), 1);
  const auto client = MakeClient();
  EXPECT_TRUE(Call(*client, Get(server.Url("/"))).ok());
  EXPECT_REASON(Call(*client, Get("https://nobody.test/")), Reason::kNoNetwork);
  for (const char* name : names) unsetenv(name);
  EXPECT_EQ(proxy.connections(), 0);
}

TEST_F(CurlHttpClientTest, OptionsThatCannotWorkAreRefusedWithoutQuotingAPassword) {
  for (const char* proxy : {"https://proxy.test:3128", "socks5://proxy.test", "proxy.test:3128",
                            "http://user:secret@", "http://user:secret@proxy test"}) {
    const auto client = CurlHttpClient::Create({.proxy = proxy}, clock_);
    EXPECT_REASON(client, Reason::kConfigInvalid);
    EXPECT_FALSE(absl::StrContains(client.status().message(), "secret"));
  }
  EXPECT_TRUE(CurlHttpClient::Create({.proxy = "http://user:secret@proxy.test:3128"}, clock_).ok());
  EXPECT_REASON(CurlHttpClient::Create({.ca_file = "/nonexistent/ca.pem"}, clock_),
                Reason::kConfigInvalid);
}

}  // namespace
}  // namespace smartkey
