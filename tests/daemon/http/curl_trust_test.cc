// SPDX-License-Identifier: Apache-2.0
// TLS and proxies: whom CurlHttpClient believes to be the server.
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/daemon/http/curl_fixture.h"

namespace smartkey {
namespace {

class CurlTrustTest : public CurlFixture {
 protected:
  CurlTrustTest() {
    std::string name = (std::filesystem::temp_directory_path() / "smartkey-tls-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    ca_file_ = Write("ca.pem", authority_.pem());
  }
  ~CurlTrustTest() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = (directory_ / name).string();
    std::ofstream(path) << text;
    return path;
  }

  HttpRequest TrustingGet(const std::string& url) const {
    HttpRequest request = Get(url);
    request.ca_file = ca_file_;
    return request;
  }

  const TestCertificateAuthority authority_;
  std::filesystem::path directory_;
  std::string ca_file_;
};

TEST_F(CurlTrustTest, AServerOfAnUnknownAuthorityGetsNothing) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto client = MakeClient();
  HttpRequest request = Post(server.Url("/token"), "assertion=secret");
  const Result result = Call(*client, std::move(request));
  EXPECT_REASON(result, Reason::kTlsNotTrusted);
  EXPECT_TRUE(NothingWasSent(result.status()));
  EXPECT_EQ(server.requests().size(), 0u);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "issued by CN=")) << result.status();
}

TEST_F(CurlTrustTest, APrivateAuthorityIsTrustedByTheRequestsFileOrTheConfiguredOne) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto plain = MakeClient();
  EXPECT_TRUE(Call(*plain, TrustingGet(server.Url("/"))).ok());
  const auto configured = MakeClient({.ca_file = ca_file_});
  EXPECT_TRUE(Call(*configured, Get(server.Url("/"))).ok());

  // Both at once, of two authorities.
  const TestCertificateAuthority other;
  TestHttpServer theirs(AnswerOk, other.Issue("IP:127.0.0.1"));
  HttpRequest request = Get(theirs.Url("/"));
  request.ca_file = Write("other.pem", other.pem());
  EXPECT_TRUE(Call(*configured, std::move(request)).ok());
  EXPECT_TRUE(Call(*configured, Get(server.Url("/"))).ok());
}

TEST_F(CurlTrustTest, TrustForOneRequestIsNotTrustForTheNext) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto client = MakeClient();
  ASSERT_TRUE(Call(*client, TrustingGet(server.Url("/"))).ok());
  // The connection is still open, and the TLS session known.
  EXPECT_REASON(Call(*client, Get(server.Url("/"))), Reason::kTlsNotTrusted);
  ASSERT_TRUE(Call(*client, TrustingGet(server.Url("/"))).ok());
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(CurlTrustTest, ACertificateForAnotherNameIsRefused) {
  TestHttpServer server(AnswerOk, authority_.Issue("DNS:other.test,IP:127.0.0.2"));
  const auto client = MakeClient();
  const Result result = Call(*client, TrustingGet(server.Url("/")));
  EXPECT_REASON(result, Reason::kTlsNotTrusted);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "another name")) << result.status();
  EXPECT_EQ(server.requests().size(), 0u);
}

TEST_F(CurlTrustTest, AnExpiredCertificateIsRefusedAndNamedAsSuch) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1", /*days=*/-1));
  const auto client = MakeClient();
  const Result result = Call(*client, TrustingGet(server.Url("/")));
  EXPECT_REASON(result, Reason::kTlsNotTrusted);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "expired")) << result.status();
}

TEST_F(CurlTrustTest, AServerWithOldTlsOnlyIsRefused) {
  TestHttpServer old(AnswerOk, authority_.Issue("IP:127.0.0.1"), TLS1_1_VERSION);
  TestHttpServer enough(AnswerOk, authority_.Issue("IP:127.0.0.1"), TLS1_2_VERSION);
  const auto client = MakeClient();
  const Result result = Call(*client, TrustingGet(old.Url("/")));
  EXPECT_REASON(result, Reason::kServerUnreachable);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "handshake")) << result.status();
  EXPECT_TRUE(NothingWasSent(result.status()));
  EXPECT_TRUE(Call(*client, TrustingGet(enough.Url("/"))).ok());
}

TEST_F(CurlTrustTest, ACaFileThatIsMissingTrustsNobody) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto client = MakeClient();
  HttpRequest request = Get(server.Url("/"));
  request.ca_file = (directory_ / "missing.pem").string();
  const Result result = Call(*client, std::move(request));
  EXPECT_REASON(result, Reason::kTlsNotTrusted);
  EXPECT_TRUE(NothingWasSent(result.status()));
}

TEST_F(CurlTrustTest, AProbeConnectsThroughTlsAndSendsNothing) {
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto client = MakeClient();
  EXPECT_TRUE(Probe(*client, TrustingGet(server.Url("/token"))).ok());
  EXPECT_TRUE(server.WaitForNoConnection());
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(ReasonOf(Probe(*client, Get(server.Url("/token")))), Reason::kTlsNotTrusted);
  EXPECT_EQ(server.requests().size(), 0u);
}

TEST_F(CurlTrustTest, AConfiguredProxyIsAskedForATunnelAndLearnsNothingElse) {
  TestHttpServer server(AnswerOk, authority_.Issue("DNS:ehr.test"));
  TestHttpServer proxy([&](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.TunnelTo(server.port());
  });
  // ehr.test has no address here: only the proxy knows the way.
  const auto client = MakeClient({.proxy = proxy.Url("")});
  HttpRequest request = Post("https://ehr.test/token", "assertion=secret");
  request.ca_file = ca_file_;
  request.bearer = Secret::CopyOf("initial-token");
  const Result result = Call(*client, std::move(request));
  ASSERT_TRUE(result.ok()) << result.status();

  const TestHttpRequest tunnel = proxy.requests().at(0);
  EXPECT_EQ(tunnel.method, "CONNECT");
  EXPECT_EQ(tunnel.target, "ehr.test:443");
  EXPECT_FALSE(tunnel.HasHeader("authorization"));
  EXPECT_EQ(server.requests().at(0).Header("authorization"), "Bearer initial-token");
  EXPECT_EQ(server.requests().at(0).target, "/token");
}

TEST_F(CurlTrustTest, WithNoProxyAndForPlainLoopbackTheProxyIsLeftOut) {
  TestHttpServer proxy(AnswerOk);
  TestHttpServer plain(AnswerOk);
  TestHttpServer server(AnswerOk, authority_.Issue("IP:127.0.0.1"));
  const auto client = MakeClient({.proxy = proxy.Url(""), .no_proxy = {"ehr.test", "127.0.0.1"}});
  EXPECT_TRUE(Call(*client, TrustingGet(server.Url("/"))).ok());
  const auto without = MakeClient({.proxy = proxy.Url("")});
  EXPECT_TRUE(Call(*without, Get(plain.Url("/"))).ok());
  EXPECT_EQ(proxy.connections(), 0);
}

TEST_F(CurlTrustTest, AProxyThatRefusesLeavesTheRequestUnsent) {
  TestHttpServer proxy([](const TestHttpRequest&, TestHttpConnection& connection) {
    connection.Answer(407, "no", "text/plain", "Proxy-Authenticate: Basic realm=x\r\n");
    connection.Close();
  });
  const auto client = MakeClient({.proxy = proxy.Url("")});
  HttpRequest request = Post("https://ehr.test/register", "x");
  request.single_use_connection = true;
  const Result result = Call(*client, std::move(request));
  EXPECT_REASON(result, Reason::kServerUnreachable);
  EXPECT_TRUE(NothingWasSent(result.status()));
}

}  // namespace
}  // namespace smartkey
