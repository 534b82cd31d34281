// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/oauth_error.h"

#include <map>

#include "daemon/oauth/token_endpoint.h"
#include "tests/daemon/oauth/oauth_testing.h"

namespace smartkey {
namespace {

std::string Body(const std::string& code) {
  return "{\"error\":\"" + code + "\"}";
}

TEST(RefusalFrom, EachErrorCodeIsInItsClass) {
  const std::map<std::string, Reason> rows = {
      {"invalid_grant", Reason::kRefusedByServer},
      {"invalid_client", Reason::kRefusedByServer},
      {"unauthorized_client", Reason::kMisconfigured},
      {"unsupported_grant_type", Reason::kMisconfigured},
      {"invalid_scope", Reason::kInvalidScope},
      {"invalid_request", Reason::kRequestRefused},
      {"temporarily_unavailable", Reason::kServerBusy},
      {"slow_down", Reason::kServerBusy},
      {"server_error", Reason::kServerError},
      {"use_dpop_nonce", Reason::kRequestRefused},
      {"invalid_dpop_proof", Reason::kRequestRefused},
      {"something_new", Reason::kUnexpectedStatus},
  };
  for (const auto& [code, reason] : rows) {
    for (const int http_status : {200, 400, 401, 403}) {
      const absl::Status status = RefusalFrom(Answered(http_status, Body(code)));
      EXPECT_EQ(NameOf(status), NameOf(reason)) << code << " " << http_status;
      EXPECT_EQ(ServerErrorCodeOf(status), code);
      EXPECT_TRUE(Says(status, code)) << status;
    }
  }
}

TEST(RefusalFrom, EachStatusIsInItsClassWhateverTheBodySays) {
  const std::map<int, Reason> rows = {
      {301, Reason::kRedirectRefused},  {302, Reason::kRedirectRefused},
      {307, Reason::kRedirectRefused},  {308, Reason::kRedirectRefused},
      {404, Reason::kUnexpectedStatus}, {405, Reason::kUnexpectedStatus},
      {410, Reason::kUnexpectedStatus}, {415, Reason::kUnexpectedStatus},
      {418, Reason::kUnexpectedStatus}, {408, Reason::kServerError},
      {429, Reason::kServerBusy},       {500, Reason::kServerError},
      {502, Reason::kServerError},      {503, Reason::kServerBusy},
      {504, Reason::kServerError},      {511, Reason::kIntercepted},
  };
  for (const auto& [http_status, reason] : rows) {
    for (const char* type : {"application/json", "text/html", ""}) {
      const absl::Status status = RefusalFrom(Answered(http_status, Body("invalid_grant"), type));
      EXPECT_EQ(NameOf(status), NameOf(reason)) << http_status << " " << type;
    }
  }
}

TEST(RefusalFrom, APageWhereJsonBelongsIsAnInterception) {
  for (const int http_status : {200, 400, 401, 403}) {
    EXPECT_EQ(NameOf(RefusalFrom(Answered(http_status, "<html>log in</html>", "text/html"))),
              NameOf(Reason::kIntercepted))
        << http_status;
  }
}

TEST(RefusalFrom, WithoutJsonTheStatusAloneCounts) {
  for (const char* type : {"text/plain", "", "application/xml"}) {
    EXPECT_EQ(NameOf(RefusalFrom(Answered(400, Body("invalid_grant"), type))),
              NameOf(Reason::kUnexpectedStatus));
  }
  EXPECT_EQ(NameOf(RefusalFrom(Answered(401, "not json"))), NameOf(Reason::kUnexpectedStatus));
}

TEST(RefusalFrom, DescriptionsAreTakenInWhateverStateTheyAre) {
  for (const char* rest : {"", ",\"error_description\":null", ",\"error_description\":7",
                           ",\"error_description\":{\"a\":1}"}) {
    const absl::Status status =
        RefusalFrom(Answered(400, std::string("{\"error\":\"invalid_client\"") + rest + "}"));
    EXPECT_EQ(NameOf(status), NameOf(Reason::kRefusedByServer)) << rest;
    EXPECT_EQ(status.message(), "the server answered invalid_client");
  }
  const absl::Status status = RefusalFrom(Answered(
      400,
      "{\"error\":\"invalid_grant\",\"error_description\":\"gr\xC3\xBC\xC3\x9F\\u001b[2J\\nx\"}"));
  EXPECT_TRUE(Says(status, "(gr\\xc3\\xbc\\xc3\\x9f\\x1b[2J\\x0ax)")) << status;
}

TEST(RefusalFrom, TheCodeItselfIsNotTrustedEither) {
  for (const char* body : {"{\"error\":null}", "{\"error\":5}", "{\"error\":\"\"}",
                           "{\"error\":\"a\\nb\"}", "{\"error\":\"a\\\"b\"}", "[]", "{}"}) {
    const absl::Status status = RefusalFrom(Answered(400, body));
    EXPECT_EQ(NameOf(status), NameOf(Reason::kUnexpectedStatus)) << body;
    EXPECT_EQ(ServerErrorCodeOf(status), "") << body;
    EXPECT_EQ(status.message(), "the server answered status 400") << body;
  }
  EXPECT_EQ(ServerErrorCodeOf(RefusalFrom(Answered(400, Body(std::string(65, 'a'))))), "");
}

TEST(RefusalFrom, ARedirectShowsTheOriginOnly) {
  const absl::Status status = RefusalFrom(Answered(
      307, "", "", {{"location", "https://other.example:8443/login?assertion=secret#secret"}}));
  EXPECT_TRUE(Says(status, "https://other.example:8443")) << status;
  EXPECT_FALSE(Says(status, "secret")) << status;
  EXPECT_FALSE(Says(RefusalFrom(Answered(302, "", "", {{"location", "/path?secret"}})), "secret"));
}

TEST(RefusalFrom, ABusyServersWordIsKept) {
  const auto wait = [](int http_status, std::string body, std::string header) {
    return RetryAfterOf(
        RefusalFrom(Answered(http_status, body, "application/json", {{"retry-after", header}})));
  };
  EXPECT_EQ(wait(503, "", "7"), absl::Seconds(7));
  EXPECT_EQ(wait(429, "", "Sun, 06 Nov 1994 08:50:37 GMT"), absl::Seconds(60));
  EXPECT_EQ(wait(400, Body("slow_down"), "9"), absl::Seconds(9));
  EXPECT_EQ(wait(503, "", "soon"), absl::nullopt);
  EXPECT_EQ(wait(500, "", "7"), absl::nullopt);
}

TEST(ClockOffsetOf, IsTheServersDateAgainstOurs) {
  const auto offset = [](std::string date) {
    return ClockOffsetOf(
        RefusalFrom(Answered(400, Body("invalid_grant"), "application/json", {{"date", date}})));
  };
  EXPECT_EQ(offset("Sun, 06 Nov 1994 08:59:37 GMT"), absl::Minutes(10));
  EXPECT_EQ(offset("Sun, 06 Nov 1994 08:48:37 GMT"), absl::Minutes(-1));
  EXPECT_EQ(offset("yesterday"), absl::nullopt);
  EXPECT_EQ(ClockOffsetOf(RefusalFrom(Answered(400, Body("invalid_grant")))), absl::nullopt);
  EXPECT_EQ(ClockOffsetOf(absl::OkStatus()), absl::nullopt);
  // Survives what callers add.
  const absl::Status status =
      Annotate(RefusalFrom(Answered(400, Body("invalid_grant"), "application/json",
                                    {{"date", "Sun, 06 Nov 1994 08:49:38 GMT"}})),
               "asking");
  EXPECT_EQ(ClockOffsetOf(status), absl::Seconds(1));
  EXPECT_EQ(ServerErrorCodeOf(status), "invalid_grant");
}

TEST(ParseHttpDate, AllThreeFormsOfRfc9110AreRead) {
  const absl::Time time = absl::FromUnixSeconds(784111777);
  for (const char* text : {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                           "Sun Nov  6 08:49:37 1994"}) {
    EXPECT_EQ(ParseHttpDate(text), time) << text;
  }
  for (const char* text : {"", "now", "784111777", "Sun, 06 Nov 1994"}) {
    EXPECT_EQ(ParseHttpDate(text), absl::nullopt) << text;
  }
}

TEST(ParseRetryAfter, IsClampedToAnHourAndJunkIsNothing) {
  const absl::Time now = absl::FromUnixSeconds(784111777);
  const std::map<std::string, absl::optional<absl::Duration>> rows = {
      {"0", absl::ZeroDuration()},
      {"120", absl::Seconds(120)},
      {" 120 ", absl::Seconds(120)},
      {"3600", absl::Hours(1)},
      {"864000", absl::Hours(1)},
      {"99999999999999999999999", absl::Hours(1)},
      {"Sun, 06 Nov 1994 08:49:57 GMT", absl::Seconds(20)},
      {"Sun, 06 Nov 1994 08:00:00 GMT", absl::ZeroDuration()},
      {"Sun, 13 Nov 1994 08:49:37 GMT", absl::Hours(1)},
      {"", absl::nullopt},
      {"-1", absl::nullopt},
      {"+5", absl::nullopt},
      {"1.5", absl::nullopt},
      {"5 minutes", absl::nullopt},
  };
  for (const auto& [text, expected] : rows) EXPECT_EQ(ParseRetryAfter(text, now), expected) << text;
}

TEST(SanitizeServerText, WhatMayBeATokenIsCutOut) {
  const std::string jwt = "eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJhYmMifQ.c2lnbmF0dXJl";
  EXPECT_EQ(SanitizeServerText("bad assertion " + jwt + " here"), "bad assertion [cut] here");
  EXPECT_EQ(SanitizeServerText(jwt), "[cut]");
  EXPECT_EQ(SanitizeServerText("short-enough_word (RS 384)"), "short-enough_word (RS 384)");
  EXPECT_EQ(SanitizeServerText("code SplxlOBeZQQYbYS6WxSbIA is used"), "code [cut] is used");
  EXPECT_EQ(SanitizeServerText("pat-1 is gone"), "[cut] is gone");
  EXPECT_EQ(SanitizeServerText(std::string(40, 'a')), std::string(40, 'a'));
  EXPECT_EQ(SanitizeServerText(std::string(41, 'a')), "[cut]");
  EXPECT_EQ(SanitizeServerText(""), "");
}

TEST(SanitizeServerText, LongTextIsCutToTheLimit) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "word ";
  EXPECT_LE(SanitizeServerText(text).size(), 200u);
  EXPECT_EQ(SanitizeServerText(text, 50).size(), 50u);
}

}  // namespace
}  // namespace smartkey
