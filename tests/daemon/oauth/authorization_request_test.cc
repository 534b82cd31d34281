// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/authorization_request.h"

#include <openssl/sha.h>

#include "base/base64url.h"
#include "tests/daemon/oauth/oauth_testing.h"

namespace smartkey {
namespace {

AuthorizationRequest Example() {
  AuthorizationRequest request;
  request.authorization_endpoint = "https://ehr.example/authorize";
  request.client_id = "a b&c";
  request.redirect_uri = "http://127.0.0.1:8080/callback";
  request.scopes = {"openid", "patient/*.rs"};
  request.state = "st";
  request.aud = "https://ehr.example/fhir/R4";
  request.code_challenge = "ch";
  return request;
}

TEST(Pkce, TheChallengeIsTheVerifiersHashAndEachIsNew) {
  const Pkce one = MakePkce();
  const Pkce two = MakePkce();
  EXPECT_EQ(one.verifier.size(), 43u);
  EXPECT_TRUE(Base64UrlDecode(one.verifier.RevealSecret()).ok());
  EXPECT_FALSE(Secret::Equal(one.verifier, two.verifier.RevealSecret()));
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(one.verifier.RevealSecret().data()),
         one.verifier.size(), digest);
  EXPECT_EQ(one.challenge,
            Base64UrlEncode(absl::string_view(reinterpret_cast<const char*>(digest), 32)));
}

TEST(AuthorizationRequest, TheUrlHasEveryParameterEncoded) {
  EXPECT_EQ(
      ToUrl(Example()),
      "https://ehr.example/authorize?response_type=code&client_id=a%20b%26c"
      "&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback"
      "&scope=openid%20patient%2F%2A.rs%20system%2FDynamicClient.register&state=st"
      "&aud=https%3A%2F%2Fehr.example%2Ffhir%2FR4&code_challenge=ch&code_challenge_method=S256");
}

TEST(AuthorizationRequest, AQueryOfTheEndpointIsKept) {
  AuthorizationRequest request = Example();
  for (const auto& [endpoint, start] :
       {std::pair<const char*, const char*>{"?tenant=1", "?tenant=1&response_type="},
        {"?", "?response_type="},
        {"?a=1&", "?a=1&response_type="}}) {
    request.authorization_endpoint = std::string("https://ehr.example/authorize") + endpoint;
    EXPECT_EQ(ToUrl(request).find(std::string("https://ehr.example/authorize") + start), 0u)
        << ToUrl(request);
  }
}

TEST(AuthorizationRequest, TheRegisterScopeIsAddedOnceInWhicheverSpelling) {
  AuthorizationRequest request = Example();
  request.scopes = {"system/dynamicClient.register"};
  EXPECT_NE(ToUrl(request).find("&scope=system%2FdynamicClient.register&"), std::string::npos);
}

TEST(GrantsRegistration, BothSpellingsCountAndNothingElse) {
  EXPECT_TRUE(GrantsRegistration({"openid", "system/DynamicClient.register"}));
  EXPECT_TRUE(GrantsRegistration({"system/dynamicClient.register"}));
  EXPECT_FALSE(GrantsRegistration({}));
  EXPECT_FALSE(GrantsRegistration({"system/DynamicClient.registers", "system/*.rs"}));
}

TEST(ParseRedirect, TheCodeIsFoundInAQueryOrAWholeUrl) {
  for (const char* redirect :
       {"code=the%2Fcode&state=st", "?code=the%2Fcode&state=st", "state=st&code=the/code&extra=1",
        "http://127.0.0.1:8080/callback?code=the%2Fcode&state=st#fragment"}) {
    const auto code = ParseRedirect(redirect, "st", "", false);
    ASSERT_TRUE(code.ok()) << redirect << code.status();
    EXPECT_EQ(code->RevealSecret(), "the/code");
  }
  const std::string long_code(5000, 'c');  // Epic's are JWTs
  EXPECT_EQ(ParseRedirect("state=st&code=" + long_code, "st", "", false)->size(), 5000u);
}

TEST(ParseRedirect, AnotherStateIsAMismatch) {
  for (const char* redirect :
       {"", "code=c", "code=c&state=", "code=c&state=ST", "code=c&state=stx",
        "code=c&state=st&state=st", "code=c&code=d&state=st", "error=access_denied",
        "error=access_denied&state=other", "http://127.0.0.1/callback"}) {
    EXPECT_EQ(NameOf(ParseRedirect(redirect, "st", "", false).status()),
              NameOf(Reason::kStateMismatch))
        << redirect;
  }
  EXPECT_EQ(NameOf(ParseRedirect("code=c&state=", "", "", false).status()),
            NameOf(Reason::kStateMismatch));
}

TEST(ParseRedirect, TheIssuerIsComparedWhereItIsKnown) {
  const std::string good = "code=c&state=st&iss=https%3A%2F%2Fehr.example";
  EXPECT_TRUE(ParseRedirect(good, "st", "https://ehr.example", true).ok());
  EXPECT_TRUE(ParseRedirect(good, "st", "", false).ok());
  EXPECT_TRUE(ParseRedirect("code=c&state=st", "st", "https://ehr.example", false).ok());
  for (const std::string& bad : {std::string("code=c&state=st&iss=https%3A%2F%2Fehr.example%2F"),
                                 std::string("code=c&state=st&iss=")}) {
    EXPECT_EQ(NameOf(ParseRedirect(bad, "st", "https://ehr.example", false).status()),
              NameOf(Reason::kIssuerMismatch));
  }
  EXPECT_EQ(NameOf(ParseRedirect("code=c&state=st", "st", "https://ehr.example", true).status()),
            NameOf(Reason::kIssuerMismatch));
}

TEST(ParseRedirect, AnErrorIsToldCleanly) {
  EXPECT_EQ(NameOf(ParseRedirect("error=access_denied&state=st", "st", "", false).status()),
            NameOf(Reason::kConsentDenied));
  const absl::Status status =
      ParseRedirect("error=invalid_scope&error_description=no%1b%5B2J+such&state=st", "st", "",
                    false)
          .status();
  EXPECT_EQ(NameOf(status), NameOf(Reason::kAuthorizationRefused));
  EXPECT_TRUE(Says(status, "invalid_scope (no\\x1b[2J such)")) << status;
}

TEST(ParseRedirect, AnUnusableCodeIsAnInvalidArgument) {
  for (const char* redirect : {"state=st", "code=&state=st", "code=a%0d%0ab&state=st",
                               "code=%C3%A4&state=st", "code=%4&state=st", "code=%zz&state=st"}) {
    EXPECT_EQ(NameOf(ParseRedirect(redirect, "st", "", false).status()),
              NameOf(Reason::kInvalidArgument))
        << redirect;
  }
  EXPECT_EQ(NameOf(ParseRedirect(std::string(70000, 'x'), "st", "", false).status()),
            NameOf(Reason::kInvalidArgument));
}

TEST(RedirectUriAllowed, ExactOrALoopbackUriWithAPortAdded) {
  const std::vector<std::string> registered = {"http://127.0.0.1/callback",
                                               "http://localhost:8965/cb", "https://app.example/cb",
                                               "http://[::1]/c?x=1"};
  for (const char* allowed : {"http://127.0.0.1/callback", "http://127.0.0.1:1/callback",
                              "http://127.0.0.1:65535/callback", "http://localhost:8965/cb",
                              "https://app.example/cb", "http://[::1]:4000/c?x=1"}) {
    EXPECT_TRUE(RedirectUriAllowed(allowed, registered)) << allowed;
  }
  for (const char* refused :
       {"", "http://127.0.0.1:1/Callback", "http://127.0.0.1:1/callback/",
        "http://127.0.0.1:1/callback?x", "http://localhost:1/callback",
        "http://127.0.0.1:0/callback", "http://127.0.0.1:070/callback",
        "http://127.0.0.1:99999/callback", "http://localhost:8966/cb", "http://localhost/cb",
        "https://app.example:444/cb", "https://127.0.0.1:1/callback",
        "http://127.0.0.1:1@evil.example/callback", "http://127.0.0.1:1/callback#x",
        "http://127.0.0.1.evil.example/callback"}) {
    EXPECT_FALSE(RedirectUriAllowed(refused, registered)) << refused;
  }
  EXPECT_FALSE(RedirectUriAllowed("http://app.example:1/cb", {"http://app.example/cb"}));
}

}  // namespace
}  // namespace smartkey
