// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/registration_endpoint.h"

#include <map>

#include "base/json.h"
#include "daemon/jose/jwk.h"
#include "daemon/oauth/token_endpoint.h"
#include "tests/daemon/oauth/oauth_testing.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"

namespace smartkey {
namespace {

using nlohmann::json;

constexpr char kUrl[] = "https://ehr.example/register";
constexpr char kJwtBearer[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";

PublicKey RsaKey(char fill) {
  PublicKey key;
  key.type = KeyType::kRsa;
  key.n = std::string(256, fill);
  key.e = std::string("\x01\x00\x01", 3);
  return key;
}

class RegistrationEndpointTest : public ::testing::Test {
 protected:
  static RegistrationRequest Request() {
    RegistrationRequest request;
    request.registration_endpoint = kUrl;
    request.initial_access_token = Secret::CopyOf("initial-token");
    request.initial_client_id = "app-client";
    request.software_id = "app-software";
    request.public_key = RsaKey('\xC3');
    request.algorithm = SignatureAlgorithm::kRs384;
    return request;
  }

  absl::StatusOr<RegisteredClient> Register(absl::StatusOr<FakeAnswer> answer) {
    http_.Script(kUrl, std::move(answer));
    absl::StatusOr<RegisteredClient> result = absl::InternalError("not called");
    RegistrationEndpoint(http_).Register(
        Request(), [&](absl::StatusOr<RegisteredClient> client) { result = std::move(client); });
    return result;
  }

  absl::StatusOr<RegisteredClient> Created(const json& body) {
    return Register(FakeAnswer{.status = 201, .body = body.dump()});
  }

  static json KeySet(const PublicKey& key) {
    return {{"keys", json::array({ToJwk(key, SignatureAlgorithm::kRs384)})}};
  }

  FakeClock clock_;
  FakeHttpClient http_{clock_};
};

TEST_F(RegistrationEndpointTest, OnePostWithTheTokenTheSoftwareIdAndOnePublicKey) {
  const auto client = Created({{"client_id", "G123"}, {"client_id_issued_at", 1632417134}});
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->client_id, "G123");
  EXPECT_FALSE(client->requires_client_authentication);
  EXPECT_EQ(client->client_id_issued_at, absl::FromUnixSeconds(1632417134));

  ASSERT_EQ(http_.requests().size(), 1u);
  const RecordedRequest sent = http_.requests()[0];
  EXPECT_EQ(sent.method, HttpRequest::Method::kPost);
  EXPECT_EQ(sent.content_type, "application/json");
  EXPECT_EQ(sent.bearer, "initial-token");
  EXPECT_TRUE(sent.single_use_connection);
  const auto body = ParseJson(sent.body);
  ASSERT_TRUE(body.ok());
  EXPECT_EQ(body->size(), 2u);
  EXPECT_EQ((*body)["software_id"], "app-software");
  ASSERT_EQ((*body)["jwks"]["keys"].size(), 1u);
  const json& jwk = (*body)["jwks"]["keys"][0];
  EXPECT_EQ(jwk["kid"], JwkThumbprint(RsaKey('\xC3')));
  EXPECT_FALSE(jwk.contains("d"));
  EXPECT_EQ(sent.body.find("initial-token"), std::string::npos);
}

TEST_F(RegistrationEndpointTest, TheExplicitBodyAsksForWhatAGenericServerWouldGuessWrong) {
  RegistrationRequest request = Request();
  request.body = RegistrationBody::kExplicit;
  request.client_name = "Example Viewer";
  const auto body = ParseJson(RegistrationRequestBody(request));
  ASSERT_TRUE(body.ok());
  EXPECT_EQ((*body)["grant_types"], json::array({kJwtBearer}));
  EXPECT_EQ((*body)["token_endpoint_auth_method"], "none");
  EXPECT_EQ((*body)["response_types"], json::array());
  EXPECT_EQ((*body)["client_name"], "Example Viewer");
}

TEST_F(RegistrationEndpointTest, EpicsAnswerWithItsOdditiesIsTaken) {
  json keys = KeySet(RsaKey('\xC3'));
  keys["keys"][0].erase("kid");
  keys["keys"][0].erase("alg");
  keys["keys"][0].erase("use");
  const auto client = Created({{"client_id", "G66488CE9-7F14-11F1-95F1-005056BECC4A"},
                               {"software_id", " app-software"},
                               {"redirect_uris", json::array({" https://app.example/cb"})},
                               {"grant_types", json::array({kJwtBearer})},
                               {"token_endpoint_auth_method", "none"},
                               {"jwks", keys},
                               {"client_secret", "not wanted"},
                               {"whatever", {{"a", 1}}}});
  EXPECT_TRUE(client.ok()) << client.status();
}

TEST_F(RegistrationEndpointTest, PrivateKeyJwtMeansClientAuthentication) {
  const auto client =
      Created({{"client_id", "G1"}, {"token_endpoint_auth_method", "private_key_jwt"}});
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(client->requires_client_authentication);
}

TEST_F(RegistrationEndpointTest, A201ThatCannotBeUsedIsRefused) {
  json two_keys = KeySet(RsaKey('\xC3'));
  two_keys["keys"].push_back(ToJwk(RsaKey('\xC4'), SignatureAlgorithm::kRs384));
  json private_key = KeySet(RsaKey('\xC3'));
  private_key["keys"][0]["d"] = "AAAA";
  const std::vector<json> answers = {
      {{"software_id", "app-software"}},
      {{"client_id", nullptr}},
      {{"client_id", 7}},
      {{"client_id", ""}},
      {{"client_id", "a\nb"}},
      {{"client_id", "\xC3\xA4"}},
      {{"client_id", std::string(513, 'x')}},
      {{"client_id", "app-client"}},
      {{"client_id", "G1"}, {"software_id", "another"}},
      {{"client_id", "G1"}, {"software_id", 7}},
      {{"client_id", "G1"}, {"grant_types", json::array({"authorization_code"})}},
      {{"client_id", "G1"}, {"grant_types", json::array()}},
      {{"client_id", "G1"}, {"grant_types", kJwtBearer}},
      {{"client_id", "G1"}, {"token_endpoint_auth_method", "client_secret_basic"}},
      {{"client_id", "G1"}, {"token_endpoint_auth_method", 7}},
      {{"client_id", "G1"}, {"jwks", KeySet(RsaKey('\xC4'))}},
      {{"client_id", "G1"}, {"jwks", two_keys}},
      {{"client_id", "G1"}, {"jwks", private_key}},
      {{"client_id", "G1"}, {"jwks", {{"keys", json::array()}}}},
      {{"client_id", "G1"}, {"jwks", "text"}},
      {{"client_id", "G1"}, {"jwks", json::object()}},
  };
  for (const json& answer : answers) {
    const absl::Status status = Created(answer).status();
    EXPECT_EQ(NameOf(status), NameOf(Reason::kRegistrationAnswerInvalid)) << answer;
    EXPECT_FALSE(AnswerIsUnknown(status)) << answer;
    EXPECT_TRUE(Says(status, "registering at https://ehr.example: ")) << status;
  }
}

TEST_F(RegistrationEndpointTest, OptionalMembersThatAreNullAreAsGoodAsAbsent) {
  EXPECT_TRUE(Created({{"client_id", "G1"},
                       {"software_id", nullptr},
                       {"grant_types", nullptr},
                       {"jwks", nullptr},
                       {"token_endpoint_auth_method", nullptr},
                       {"client_id_issued_at", "junk"}})
                  .ok());
}

TEST_F(RegistrationEndpointTest, AGarbled201LeavesTheAnswerUnknown) {
  for (const FakeAnswer& answer :
       {FakeAnswer{.status = 201, .body = R"({"client_id":"G1")"},
        FakeAnswer{.status = 201, .body = "[]"}, FakeAnswer{.status = 201, .body = ""},
        FakeAnswer{.status = 201, .body = R"({"client_id":"G1"})", .content_type = "text/plain"}}) {
    const absl::Status status = Register(answer).status();
    EXPECT_EQ(NameOf(status), NameOf(Reason::kRegistrationAnswerInvalid)) << status;
    EXPECT_TRUE(AnswerIsUnknown(status));
  }
}

struct RefusalRow {
  int status;
  const char* code;
  const char* type;
  Reason reason;
  bool unknown;
};

TEST_F(RegistrationEndpointTest, EachRefusalHasItsReason) {
  constexpr char kJson[] = "application/json";
  for (const RefusalRow& row : {
           RefusalRow{400, "invalid_client_metadata", kJson, Reason::kSoftwareIdRefused, false},
           {400, "access_denied", kJson, Reason::kInitialTokenRefused, false},
           {400, "invalid_token", kJson, Reason::kInitialTokenRefused, false},
           {400, "invalid_redirect_uri", kJson, Reason::kRegistrationRefused, false},
           {400, "invalid_software_statement", kJson, Reason::kRegistrationRefused, false},
           {400, "unapproved_software_statement", kJson, Reason::kRegistrationRefused, false},
           {400, "", "text/plain", Reason::kRegistrationRefused, false},
           {400, "", "text/html", Reason::kIntercepted, false},
           {401, "invalid_token", kJson, Reason::kInitialTokenRefused, false},
           {401, "", "text/html", Reason::kInitialTokenRefused, false},
           {401, "", "", Reason::kInitialTokenRefused, false},
           {403, "insufficient_scope", kJson, Reason::kRegistrationForbidden, false},
           {403, "", "text/html", Reason::kIntercepted, false},
           {404, "", "text/html", Reason::kNoDynamicRegistration, false},
           {405, "", kJson, Reason::kUnexpectedStatus, false},
           {200, "", kJson, Reason::kRegistrationAnswerInvalid, false},
           {200, "", "text/html", Reason::kIntercepted, false},
           {201, "", "text/html", Reason::kIntercepted, false},
           {202, "", kJson, Reason::kUnexpectedStatus, false},
           {307, "", "", Reason::kRedirectRefused, false},
           {408, "", "", Reason::kServerError, false},
           {429, "", "", Reason::kServerBusy, false},
           {500, "", "text/html", Reason::kServerError, true},
           {502, "", "", Reason::kServerError, true},
           {503, "", "", Reason::kServerBusy, true},
           {504, "", "", Reason::kServerError, true},
           {511, "", "text/html", Reason::kIntercepted, false},
       }) {
    const std::string body =
        row.code[0] == '\0' ? "" : std::string("{\"error\":\"") + row.code + "\"}";
    const absl::Status status =
        Register(FakeAnswer{.status = row.status, .body = body, .content_type = row.type}).status();
    EXPECT_EQ(NameOf(status), NameOf(row.reason)) << row.status << " " << row.code;
    EXPECT_EQ(AnswerIsUnknown(status), row.unknown) << row.status << " " << row.code;
    EXPECT_EQ(ServerErrorCodeOf(status), row.code) << row.status;
    EXPECT_FALSE(Says(status, "initial-token"));
  }
}

TEST_F(RegistrationEndpointTest, ALostAnswerIsUnknownUnlessNothingWasSent) {
  for (const Reason reason : {Reason::kServerUnreachable, Reason::kBadServerAnswer,
                              Reason::kShuttingDown, Reason::kCancelled}) {
    const absl::Status lost = Register(MakeError(reason, "lost")).status();
    EXPECT_EQ(NameOf(lost), NameOf(reason));
    EXPECT_TRUE(AnswerIsUnknown(lost));
    EXPECT_FALSE(AnswerIsUnknown(Register(MarkNothingWasSent(MakeError(reason, "x"))).status()));
  }
}

}  // namespace
}  // namespace smartkey
