// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/discovery.h"

#include "absl/strings/str_cat.h"
#include "base/json.h"
#include "daemon/oauth/discovery_documents.h"
#include "tests/daemon/oauth/oauth_testing.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"

namespace smartkey {
namespace {

using nlohmann::json;

constexpr char kBase[] = "https://ehr.example/fhir/R4";
constexpr char kSmart[] = "https://ehr.example/fhir/R4/.well-known/smart-configuration";
constexpr char kMetadata[] = "https://ehr.example/fhir/R4/metadata";

json SmartConfiguration() {
  return {{"issuer", "https://ehr.example/auth"},
          {"authorization_endpoint", "https://ehr.example/authorize"},
          {"token_endpoint", "https://ehr.example/token"},
          {"registration_endpoint", "https://ehr.example/register"},
          {"revocation_endpoint", "https://ehr.example/revoke"},
          {"management_endpoint", "https://ehr.example/manage"},
          {"grant_types_supported", json::array({"authorization_code"})},
          {"code_challenge_methods_supported", json::array({"S256"})},
          {"token_endpoint_auth_signing_alg_values_supported", json::array({"RS384", "ES384"})},
          {"authorization_response_iss_parameter_supported", true}};
}

json OauthUris(const std::string& registration) {
  json uris = json::array({{{"url", "token"}, {"valueUri", "https://ehr.example/token2"}},
                           {{"url", "authorize"}, {"valueUri", "https://ehr.example/authorize2"}},
                           {{"url", "manage"}, {"valueUri", "https://ehr.example/manage2"}}});
  if (!registration.empty()) uris.push_back({{"url", "register"}, {"valueUri", registration}});
  return {{"url", "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"},
          {"extension", uris}};
}

json CapabilityStatement(const std::string& registration) {
  const json other = {{"url", "http://example.com/other"}, {"valueString", "first"}};
  return {
      {"resourceType", "CapabilityStatement"},
      {"rest",
       json::array(
           {{{"mode", "client"},
             {"security", {{"extension", json::array({OauthUris("https://wrong.example/")})}}}},
            {{"mode", "server"},
             {"security",
              {{"cors", true}, {"extension", json::array({other, OauthUris(registration)})}}}}})}};
}

class DiscoveryTest : public ::testing::Test {
 protected:
  DiscoveryTest() {
    server_.name = "ehr";
    server_.fhir_base = kBase;
  }

  absl::StatusOr<ServerEndpoints> Discover() {
    absl::StatusOr<ServerEndpoints> result = absl::InternalError("not called");
    Discovery(http_).Discover(server_, "app-client", [&](absl::StatusOr<ServerEndpoints> found) {
      result = std::move(found);
    });
    return result;
  }

  void Serve(const std::string& url, const json& body, std::string type = "application/json") {
    http_.Script(url, FakeAnswer{.body = body.dump(), .content_type = std::move(type)});
  }

  std::vector<std::string> Asked() const {
    std::vector<std::string> urls;
    for (const RecordedRequest& request : http_.requests()) urls.push_back(request.url);
    return urls;
  }

  FakeClock clock_;
  FakeHttpClient http_{clock_};
  Server server_;
};

TEST_F(DiscoveryTest, SmartConfigurationBelowTheBaseIsEnough) {
  for (const char* base : {kBase, "https://ehr.example/fhir/R4/"}) {
    server_.fhir_base = base;
    Serve(kSmart, SmartConfiguration());
    const auto found = Discover();
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->token_endpoint, "https://ehr.example/token");
    EXPECT_EQ(found->registration_endpoint, "https://ehr.example/register");
    EXPECT_EQ(found->authorization_endpoint, "https://ehr.example/authorize");
    EXPECT_EQ(found->revocation_endpoint, "https://ehr.example/revoke");
    EXPECT_EQ(found->management_endpoint, "https://ehr.example/manage");
    EXPECT_EQ(found->issuer, "https://ehr.example/auth");
    EXPECT_EQ(found->signing_algorithms, (std::vector<std::string>{"RS384", "ES384"}));
    EXPECT_TRUE(found->iss_parameter_supported);
    EXPECT_EQ(found->source, "smart-configuration");
  }
  EXPECT_EQ(Asked(), (std::vector<std::string>{kSmart, kSmart}));
  const RecordedRequest sent = http_.requests()[0];
  EXPECT_EQ(sent.accept, "application/json");
  EXPECT_EQ(sent.max_body, 256u * 1024);
  EXPECT_TRUE(sent.headers.empty());
}

TEST_F(DiscoveryTest, WithoutRegistrationThereTheCapabilityStatementIsAsked) {
  server_.profile = ServerProfile::kEpic;
  json smart = SmartConfiguration();
  smart.erase("registration_endpoint");
  Serve(kSmart, smart);
  Serve(kMetadata, CapabilityStatement("https://ehr.example/register2"), "application/fhir+json");
  const auto found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  // All of one document, nothing of the other.
  EXPECT_EQ(found->source, "metadata");
  EXPECT_EQ(found->token_endpoint, "https://ehr.example/token2");
  EXPECT_EQ(found->registration_endpoint, "https://ehr.example/register2");
  EXPECT_EQ(found->authorization_endpoint, "https://ehr.example/authorize2");
  EXPECT_EQ(found->management_endpoint, "https://ehr.example/manage2");
  EXPECT_EQ(found->revocation_endpoint, "");

  const RecordedRequest sent = http_.requests(kMetadata).at(0);
  EXPECT_EQ(sent.accept, "application/fhir+json");
  EXPECT_EQ(sent.max_body, 4u * 1024 * 1024);
  EXPECT_EQ(sent.headers,
            (std::vector<std::pair<std::string, std::string>>{{"Epic-Client-ID", "app-client"}}));
  EXPECT_TRUE(http_.requests(kSmart).at(0).headers.empty());
}

TEST_F(DiscoveryTest, OnlyEpicIsToldTheClientId) {
  Serve(kMetadata, CapabilityStatement("https://ehr.example/register2"), "application/json");
  ASSERT_TRUE(Discover().ok());
  EXPECT_TRUE(http_.requests(kMetadata).at(0).headers.empty());
}

TEST_F(DiscoveryTest, TheIssuersDocumentsComeNextWithTheWellKnownPartInItsPlace) {
  json smart = SmartConfiguration();
  smart.erase("registration_endpoint");
  Serve(kSmart, smart);
  json metadata = SmartConfiguration();
  Serve("https://ehr.example/.well-known/oauth-authorization-server/auth", metadata);
  auto found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->source, "oauth-authorization-server");

  Serve(kSmart, smart);
  Serve("https://ehr.example/auth/.well-known/openid-configuration", metadata);
  found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->source, "openid-configuration");
}

TEST_F(DiscoveryTest, WithoutAnIssuerTheOriginOfTheBaseIsAsked) {
  json metadata = SmartConfiguration();
  metadata["issuer"] = "https://ehr.example";
  Serve("https://ehr.example/.well-known/oauth-authorization-server", metadata);
  EXPECT_TRUE(Discover().ok());
}

TEST_F(DiscoveryTest, AnotherIssuerThanTheOneAskedIsNotTaken) {
  for (const char* issuer : {"https://ehr.example/", "https://other.example", ""}) {
    json metadata = SmartConfiguration();
    metadata["issuer"] = issuer;
    Serve("https://ehr.example/.well-known/oauth-authorization-server", metadata);
    EXPECT_FALSE(Discover().ok()) << issuer;
  }
}

TEST_F(DiscoveryTest, ConfiguredEndpointsMakeDiscoveryNeedless) {
  server_.authorization_endpoint = "https://a.example/authorize";
  server_.token_endpoint = "https://a.example/token";
  server_.registration_endpoint = "https://a.example/register";
  const auto found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->token_endpoint, "https://a.example/token");
  EXPECT_EQ(found->source, "configuration");
  EXPECT_TRUE(Asked().empty());
}

TEST_F(DiscoveryTest, AConfiguredEndpointOverridesTheDiscoveredOne) {
  server_.registration_endpoint = "https://10.1.2.3/register";  // the administrator may
  json smart = SmartConfiguration();
  smart.erase("registration_endpoint");
  Serve(kSmart, smart);
  const auto found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->registration_endpoint, "https://10.1.2.3/register");
  EXPECT_EQ(found->token_endpoint, "https://ehr.example/token");
  EXPECT_EQ(Asked(), (std::vector<std::string>{kSmart}));
}

TEST_F(DiscoveryTest, TokenAndRegistrationConfiguredDoWithoutDocuments) {
  server_.token_endpoint = "https://a.example/token";
  server_.registration_endpoint = "https://a.example/register";
  const auto found = Discover();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->authorization_endpoint, "");
  EXPECT_EQ(found->token_endpoint, "https://a.example/token");
}

TEST_F(DiscoveryTest, AConfiguredUrlThatIsUnusableIsAConfigurationError) {
  server_.token_endpoint = "http://a.example/token";
  EXPECT_EQ(NameOf(Discover().status()), NameOf(Reason::kConfigInvalid));
  EXPECT_TRUE(Asked().empty());
}

TEST_F(DiscoveryTest, PlainPkceOnlyIsRefused) {
  for (const json& methods : {json::array({"plain"}), json::array(), json("S256")}) {
    json smart = SmartConfiguration();
    smart["code_challenge_methods_supported"] = methods;
    Serve(kSmart, smart);
    const absl::Status status = Discover().status();
    EXPECT_EQ(NameOf(status), NameOf(Reason::kDiscoveryInvalid));
    EXPECT_TRUE(Says(status, "code_challenge_methods_supported")) << status;
  }
  json smart = SmartConfiguration();
  smart.erase("code_challenge_methods_supported");
  Serve(kSmart, smart);
  EXPECT_TRUE(Discover().ok());
}

TEST_F(DiscoveryTest, DocumentsWithoutARegistrationEndpointMeanNoDynamicRegistration) {
  json smart = SmartConfiguration();
  smart.erase("registration_endpoint");
  Serve(kSmart, smart);
  Serve(kMetadata, CapabilityStatement(""), "application/fhir+json");
  // A site that has a page for every path.
  http_.Handle("https://ehr.example/.well-known/oauth-authorization-server/auth",
               [](const RecordedRequest&) {
                 return FakeAnswer{.body = "<html>", .content_type = "text/html"};
               });
  const absl::Status status = Discover().status();
  EXPECT_EQ(NameOf(status), NameOf(Reason::kNoDynamicRegistration)) << status;
  EXPECT_TRUE(Says(status, "discovering https://ehr.example: "));
  EXPECT_EQ(Asked().size(), 4u);
}

TEST_F(DiscoveryTest, NoDocumentAtAllIsSaidSo) {
  const absl::Status status = Discover().status();
  EXPECT_EQ(NameOf(status), NameOf(Reason::kDiscoveryInvalid));
  EXPECT_NE(RemedyOf(status).find("fhir_base"), std::string::npos);
  EXPECT_EQ(Asked().size(), 4u);
}

TEST_F(DiscoveryTest, BrokenDocumentsAreCleanErrors) {
  const struct {
    FakeAnswer answer;
    Reason reason;
  } rows[] = {
      {{.body = "<html>", .content_type = "text/html"}, Reason::kIntercepted},
      {{.body = "<CapabilityStatement/>", .content_type = "application/fhir+xml"},
       Reason::kBadServerAnswer},
      {{.body = "{\"token_endpoint\":"}, Reason::kBadServerAnswer},
      {{.body = "[]"}, Reason::kBadServerAnswer},
      {{.status = 500}, Reason::kServerError},
      {{.status = 302, .headers = {{"location", "https://login.example/?secret"}}},
       Reason::kRedirectRefused},
  };
  for (const auto& row : rows) {
    http_.Handle(kSmart, [&](const RecordedRequest&) { return row.answer; });
    http_.Handle(kMetadata, [&](const RecordedRequest&) { return row.answer; });
    const absl::Status status = Discover().status();
    EXPECT_EQ(NameOf(status), NameOf(row.reason)) << status;
    EXPECT_TRUE(Says(status, "smart-configuration") || Says(status, "metadata")) << status;
    EXPECT_FALSE(Says(status, "secret")) << status;
  }
}

TEST_F(DiscoveryTest, WhatWouldHappenAgainEndsTheSearchAtOnce) {
  for (const Reason reason : {Reason::kNoNetwork, Reason::kServerUnreachable,
                              Reason::kTlsNotTrusted, Reason::kCancelled, Reason::kShuttingDown}) {
    http_.Script(kSmart, MakeError(reason, "https://ehr.example: x"));
    EXPECT_EQ(NameOf(Discover().status()), NameOf(reason));
  }
  http_.Script(kSmart, FakeAnswer{.status = 503, .headers = {{"retry-after", "30"}}});
  const absl::Status busy = Discover().status();
  EXPECT_EQ(NameOf(busy), NameOf(Reason::kServerBusy));
  EXPECT_EQ(RetryAfterOf(busy), absl::Seconds(30));
  EXPECT_EQ(Asked().size(), 6u);
}

TEST_F(DiscoveryTest, AnEndpointThatIsNotAllowedIsNamed) {
  for (const char* url :
       {"http://ehr.example/token", "https://user@ehr.example/token", "https://ehr.example/token#f",
        "https://127.0.0.1/token", "https://localhost/token", "https://x.localhost/token",
        "https://169.254.169.254/token", "https://0x7f000001/t", "ftp://ehr.example/token",
        "mailto:x"}) {
    json smart = SmartConfiguration();
    smart["token_endpoint"] = url;
    Serve(kSmart, smart);
    const absl::Status status = Discover().status();
    EXPECT_EQ(NameOf(status), NameOf(Reason::kDiscoveryInvalid)) << url;
    EXPECT_TRUE(Says(status, "token_endpoint")) << status;
  }
  json smart = SmartConfiguration();
  smart["management_endpoint"] = "http://ehr.example/manage";  // only shown to people
  Serve(kSmart, smart);
  const auto found = Discover();
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->management_endpoint, "");
}

TEST_F(DiscoveryTest, AnIssuerInsideTheNetworkIsNotAsked) {
  json smart = SmartConfiguration();
  smart.erase("registration_endpoint");
  smart["issuer"] = "https://169.254.169.254/latest";
  Serve(kSmart, smart);
  EXPECT_EQ(NameOf(Discover().status()), NameOf(Reason::kNoDynamicRegistration));
  EXPECT_EQ(Asked(), (std::vector<std::string>{kSmart, kMetadata}));
}

TEST_F(DiscoveryTest, TheServersSettingsGoWithEveryRequest) {
  server_.fhir_base = "http://127.0.0.1:8080/fhir";
  server_.allow_loopback_http = true;
  server_.ca_file = "/etc/ca.pem";
  Discover().IgnoreError();
  EXPECT_EQ(http_.requests().size(), 4u);
  for (const RecordedRequest& request : http_.requests()) {
    EXPECT_EQ(request.ca_file, "/etc/ca.pem");
    EXPECT_TRUE(request.allow_loopback_http);
    EXPECT_EQ(request.method, HttpRequest::Method::kGet);
  }
}

TEST(ResolveEndpoint, RelativeUrlsAreResolvedAgainstTheBaseAsAFolder) {
  for (const char* base : {"https://h.example/fhir/R4", "https://h.example/fhir/R4/"}) {
    const auto resolve = [&](const char* url) {
      return ResolveEndpoint(base, url, false).value_or("-");
    };
    EXPECT_EQ(resolve("auth/token"), "https://h.example/fhir/R4/auth/token");
    EXPECT_EQ(resolve("./token"), "https://h.example/fhir/R4/token");
    EXPECT_EQ(resolve("../token?x=../y"), "https://h.example/fhir/token?x=../y");
    EXPECT_EQ(resolve("../../../../token"), "https://h.example/token");
    EXPECT_EQ(resolve("/oauth/token"), "https://h.example/oauth/token");
    EXPECT_EQ(resolve("//other.example/token"), "https://other.example/token");
    EXPECT_EQ(resolve("https://other.example:8443/t?a=b"), "https://other.example:8443/t?a=b");
    EXPECT_EQ(resolve("//user@other.example/"), "-");
    EXPECT_EQ(resolve("token#f"), "-");
  }
}

TEST(ResolveEndpoint, AddressesOnlyWhereTheBaseIsOne) {
  EXPECT_TRUE(ResolveEndpoint("https://10.0.0.1/fhir", "https://10.0.0.2/token", false).ok());
  EXPECT_FALSE(ResolveEndpoint("https://10.0.0.1/fhir", "https://127.0.0.1/token", false).ok());
  EXPECT_TRUE(ResolveEndpoint("http://127.0.0.1:1/fhir", "http://localhost:2/token", true).ok());
  EXPECT_FALSE(ResolveEndpoint("http://127.0.0.1:1/fhir", "http://localhost:2/token", false).ok());
  EXPECT_FALSE(ResolveEndpoint("http://127.0.0.1:1/fhir", "http://ehr.example/token", true).ok());
}

TEST(HostOf, IsForPeople) {
  EXPECT_EQ(HostOf("https://EHR.example.com:8443/fhir?x"), "ehr.example.com:8443");
  EXPECT_EQ(HostOf("https://ehr.example.com/"), "ehr.example.com");
  EXPECT_EQ(HostOf("junk"), "an unreadable url");
}

TEST(DiscoveryDocuments, TheirUrlsAreInTheirPlace) {
  EXPECT_EQ(SmartConfigurationUrl("https://h.example/fhir/"),
            "https://h.example/fhir/.well-known/smart-configuration");
  EXPECT_EQ(*AuthorizationServerMetadataUrl("https://h.example/a/b/"),
            "https://h.example/.well-known/oauth-authorization-server/a/b");
  EXPECT_EQ(*AuthorizationServerMetadataUrl("https://h.example"),
            "https://h.example/.well-known/oauth-authorization-server");
  EXPECT_EQ(*OpenIdConfigurationUrl("https://h.example/a/"),
            "https://h.example/a/.well-known/openid-configuration");
  EXPECT_FALSE(AuthorizationServerMetadataUrl("https://h.example?x").ok());
}

TEST(CapabilityStatement, AnEndpointThatIsNoStringIsNamed) {
  const auto found = ReadCapabilityStatement(
      Answered(200, R"({"rest":[{"mode":"server","security":{"extension":[{"url":)"
                    R"("http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",)"
                    R"("extension":[{"url":"token","valueUri":7}]}]}}]})"),
      {kBase, false, ""});
  EXPECT_EQ(NameOf(found.status()), NameOf(Reason::kDiscoveryInvalid));
  EXPECT_TRUE(Says(found.status(), "token: the url is no string")) << found.status();
}

TEST(Metadata, AnEndpointThatIsNoStringIsNamedUnlessItIsOptional) {
  const DocumentContext context = {kBase, false, ""};
  for (const char* member : {"authorization_endpoint", "token_endpoint", "registration_endpoint"}) {
    for (const char* value : {"7", "[]", "{}", "true"}) {
      const auto found =
          ReadMetadata(Answered(200, absl::StrCat("{\"", member, "\":", value, "}")), context);
      EXPECT_TRUE(Says(found.status(), absl::StrCat(member, ": the url is no string")))
          << found.status();
    }
  }
  EXPECT_TRUE(ReadMetadata(Answered(200, R"({"revocation_endpoint":7})"), context).ok());
  EXPECT_TRUE(ReadMetadata(Answered(200, R"({"token_endpoint":null})"), context).ok());
}

TEST(CapabilityStatement, OddShapesHaveNoEndpointsAndDoNotCrash) {
  for (const char* body :
       {"{}", R"({"rest":null})", R"({"rest":{}})", R"({"rest":[null,7,"x",{}]})",
        R"({"rest":[{"mode":"server"}]})", R"({"rest":[{"mode":"server","security":[]}]})",
        R"({"rest":[{"mode":"server","security":{"extension":{}}}]})",
        R"({"rest":[{"mode":"server","security":{"extension":[null,[],{"url":7}]}}]})",
        R"({"rest":[{"mode":"server","security":{"extension":[{"url":)"
        R"("http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris","extension":)"
        R"([{"url":"token","valueUri":null},{"url":"register"}]}]}}]})"}) {
    const auto found = ReadCapabilityStatement(Answered(200, body), {kBase, false, ""});
    ASSERT_TRUE(found.ok()) << body << found.status();
    EXPECT_EQ(found->token_endpoint, "");
  }
}

}  // namespace
}  // namespace smartkey
