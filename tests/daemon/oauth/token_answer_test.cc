// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/json.h"
#include "daemon/oauth/token_endpoint.h"
#include "tests/daemon/oauth/oauth_testing.h"

namespace smartkey {
namespace {

using nlohmann::json;

absl::StatusOr<AccessToken> Parse(const std::string& members, const ScopeSet& sent = {}) {
  return ParseTokenAnswer(
      Answered(200, "{\"access_token\":\"tok\",\"token_type\":\"Bearer\"" + members + "}"), sent);
}

TEST(TokenAnswer, TheUsualOneIsReadWhole) {
  const auto token = ParseTokenAnswer(
      Answered(200,
               R"({"access_token":"a.b-c_d~e+f/g==","token_type":"bearer","expires_in":3600,
                   "scope":"patient/*.rs launch/patient","patient":"p1","fhirUser":"Patient/p1",
                   "encounter":"e1","__epic.dstu2.patient":"x","refresh_token":"rt","id_token":"it",
                   "client_secret":"cs"})"),
      {});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->value.RevealSecret(), "a.b-c_d~e+f/g==");
  EXPECT_EQ(token->token_type, "Bearer");
  EXPECT_TRUE(token->cacheable);
  EXPECT_EQ(token->expires, BootTime::FromSinceBoot(absl::Hours(6)));  // from when it was sent
  EXPECT_EQ(token->refresh_after, token->expires);
  EXPECT_EQ(*token->granted, (ScopeSet{"launch/patient", "patient/*.rs"}));
  EXPECT_EQ(token->patient.RevealIdentifying(), "p1");
  EXPECT_EQ(token->fhir_user.RevealIdentifying(), "Patient/p1");
  EXPECT_EQ(token->launch_context_json.RevealIdentifying(),
            R"({"__epic.dstu2.patient":"x","encounter":"e1"})");
}

TEST(TokenAnswer, ExpiresInIsReadAsTheTableSays) {
  const std::map<std::string, absl::Duration> lifetimes = {
      {"1", absl::Seconds(1)},
      {"3600", absl::Seconds(3600)},
      {"\"3600\"", absl::Seconds(3600)},
      {"3600.5", absl::Seconds(3600)},
      {"86400", absl::Hours(24)},
      {"86401", absl::Hours(24)},
      {"1e308", absl::Hours(24)},
      {"99999999999999999999999999", absl::Hours(24)},
      {"\"99999999999999999999999999\"", absl::Hours(24)},
      {"null", absl::Seconds(60)},
      {"0", absl::ZeroDuration()},
      {"0.5", absl::ZeroDuration()},
      {"-1", absl::ZeroDuration()},
      {"-1e308", absl::ZeroDuration()},
      {"\"0\"", absl::ZeroDuration()},
  };
  for (const auto& [value, lifetime] : lifetimes) {
    const auto token = Parse(",\"expires_in\":" + value);
    ASSERT_TRUE(token.ok()) << value << token.status();
    EXPECT_EQ(token->lifetime, lifetime) << value;
    EXPECT_EQ(token->expires - BootTime::FromSinceBoot(absl::Hours(5)), lifetime) << value;
    EXPECT_EQ(token->cacheable, lifetime > absl::ZeroDuration()) << value;
  }
  EXPECT_EQ(Parse("")->lifetime, absl::Seconds(60));
  for (const char* value :
       {"\"1 hour\"", "\"\"", "\"-1\"", "\" 60\"", "\"3600.5\"", "true", "{}", "[60]"}) {
    const auto token = Parse(std::string(",\"expires_in\":") + value);
    EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kBadServerAnswer)) << value;
    EXPECT_TRUE(Says(token.status(), "expires_in")) << token.status();
  }
}

TEST(TokenAnswer, OnlyBearerIsTaken) {
  for (const char* type : {"Bearer", "bearer", "BEARER"}) {
    EXPECT_TRUE(
        ParseTokenAnswer(
            Answered(200, std::string("{\"access_token\":\"t\",\"token_type\":\"") + type + "\"}"),
            {})
            .ok());
  }
  for (const char* member :
       {"", ",\"token_type\":null", ",\"token_type\":\"mac\"", ",\"token_type\":\"DPoP\"",
        ",\"token_type\":7", ",\"token_type\":\"Bearer \""}) {
    const auto token =
        ParseTokenAnswer(Answered(200, std::string("{\"access_token\":\"t\"") + member + "}"), {});
    EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kBadServerAnswer)) << member;
    EXPECT_TRUE(Says(token.status(), "token_type"));
  }
}

TEST(TokenAnswer, AnAccessTokenThatIsUnfitForAHeaderNeverGetsOut) {
  const std::string huge = absl::StrCat("\"", std::string(33 * 1024, 'x'), "\"");
  for (const std::string& value :
       {std::string("\"\""), std::string("7"), std::string("null"),
        std::string("\"secret\\r\\nX: y\""), std::string("\"secret x\""),
        std::string("\"secret\\u0000\""), std::string("\"secret\\u00e4\""),
        std::string("[\"secret\"]"), std::string("\"secret\\u007f\""), huge}) {
    const auto token = ParseTokenAnswer(
        Answered(200, "{\"token_type\":\"Bearer\",\"access_token\":" + value + "}"), {});
    EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kBadServerAnswer));
    EXPECT_TRUE(Says(token.status(), "access_token"));
    EXPECT_FALSE(Says(token.status(), "secret"));
  }
  const auto long_one =
      ParseTokenAnswer(Answered(200, "{\"token_type\":\"Bearer\",\"access_token\":\"" +
                                         std::string(16 * 1024, 'x') + "\"}"),
                       {});
  EXPECT_TRUE(long_one.ok());
}

TEST(TokenAnswer, ScopeAbsentMeansAsRequestedAndUnknownWhenNothingWas) {
  EXPECT_EQ(Parse("")->granted, absl::nullopt);
  EXPECT_EQ(Parse(",\"scope\":null")->granted, absl::nullopt);
  EXPECT_EQ(*Parse("", {"a", "b"})->granted, (ScopeSet{"a", "b"}));
  EXPECT_EQ(*Parse(",\"scope\":\"a\"", {"a", "b"})->granted, (ScopeSet{"a"}));
  EXPECT_EQ(*Parse(",\"scope\":\"c b  a\"", {"a"})->granted, (ScopeSet{"a", "b", "c"}));
  EXPECT_EQ(*Parse(",\"scope\":\"\"", {"a"})->granted, ScopeSet{});
  for (const char* value : {"[\"a\"]", "7", "\"a\\nb\""}) {
    EXPECT_EQ(NameOf(Parse(std::string(",\"scope\":") + value).status()),
              NameOf(Reason::kBadServerAnswer));
  }
}

TEST(TokenAnswer, ThePatientIsAStringOrTheAnswerIsRefused) {
  EXPECT_TRUE(Parse("")->patient.empty());
  EXPECT_TRUE(Parse(",\"patient\":null")->patient.empty());
  for (const char* value : {"7", "[\"p\"]", "{\"id\":\"secret\"}"}) {
    const auto token = Parse(std::string(",\"patient\":") + value);
    EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kBadServerAnswer));
    EXPECT_FALSE(Says(token.status(), "secret"));
  }
}

TEST(TokenAnswer, TheUserIsReadFromTheIdTokenWhenItIsNotBesideIt) {
  const auto id_token = [](const std::string& claims) {
    return ",\"id_token\":\"" + Base64UrlEncode("{}") + "." + Base64UrlEncode(claims) + ".sig\"";
  };
  EXPECT_EQ(Parse(id_token(R"({"fhirUser":"Patient/1"})"))->fhir_user.RevealIdentifying(),
            "Patient/1");
  EXPECT_EQ(Parse(",\"fhirUser\":\"Patient/2\"" + id_token(R"({"fhirUser":"Patient/1"})"))
                ->fhir_user.RevealIdentifying(),
            "Patient/2");
  for (const std::string& odd :
       {id_token("not json"), id_token("{}"), id_token(R"({"fhirUser":7})"),
        std::string(",\"id_token\":\"a.b\""), std::string(",\"id_token\":7"),
        std::string(",\"id_token\":\"a.*.c\"")}) {
    const auto token = Parse(odd);
    ASSERT_TRUE(token.ok()) << odd;
    EXPECT_TRUE(token->fhir_user.empty()) << odd;
  }
}

TEST(TokenAnswer, LaunchContextHasNoCredentialsAndABound) {
  const auto token = Parse(
      R"(,"intent":"order","need_patient_banner":true,"fhirContext":[{"reference":"A/1"}],)"
      R"("registration_access_token":"s","device_secret":"s","Refresh_Token2":"s","state":"s","tenant":null)");
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->launch_context_json.RevealIdentifying(),
            R"({"fhirContext":[{"reference":"A/1"}],"intent":"order","need_patient_banner":true})");
  EXPECT_TRUE(Parse(",\"x\":\"" + std::string(9000, 'x') + "\"")->launch_context_json.empty());
  EXPECT_TRUE(Parse("")->launch_context_json.empty());
}

TEST(TokenAnswer, WhatIsNoCleanJsonIsRefused) {
  const std::string good = R"({"access_token":"secret","token_type":"Bearer","expires_in":60})";
  ASSERT_TRUE(ParseTokenAnswer(Answered(200, good), {}).ok());
  std::string deep = R"({"access_token":"secret","token_type":"Bearer","x":)";
  deep += std::string(100, '[') + std::string(100, ']') + "}";
  for (const std::string& body :
       {good + "x", good.substr(0, good.size() - 1), "\xEF\xBB\xBF" + good, std::string(""),
        std::string("[]"), std::string("\"secret\""), deep,
        std::string(R"({"access_token":"secret","access_token":"b","token_type":"Bearer"})"),
        std::string("{\"access_token\":\"secret\xC3\",\"token_type\":\"Bearer\"}")}) {
    const auto token = ParseTokenAnswer(Answered(200, body), {});
    EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kBadServerAnswer)) << body;
    EXPECT_FALSE(Says(token.status(), "secret"));
  }
  EXPECT_EQ(NameOf(ParseTokenAnswer(Answered(200, good, "text/html"), {}).status()),
            NameOf(Reason::kIntercepted));
  for (const char* type :
       {"", "text/plain", "application/fhir+json", "application/x-www-form-urlencoded"}) {
    EXPECT_EQ(NameOf(ParseTokenAnswer(Answered(200, good, type), {}).status()),
              NameOf(Reason::kBadServerAnswer))
        << type;
  }
}

TEST(TokenAnswer, AnErrorIn200IsAnError) {
  const auto token = Parse(",\"error\":\"invalid_grant\"");
  EXPECT_EQ(NameOf(token.status()), NameOf(Reason::kRefusedByServer));
  EXPECT_EQ(ServerErrorCodeOf(token.status()), "invalid_grant");
  EXPECT_EQ(NameOf(Parse(",\"error\":{\"code\":5}").status()), NameOf(Reason::kUnexpectedStatus));
  EXPECT_TRUE(Parse(",\"error\":null").ok());
}

}  // namespace
}  // namespace smartkey
