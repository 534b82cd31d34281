// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/jwk.h"

#include <gtest/gtest.h>

#include "base/base64url.h"
#include "base/json.h"
#include "tests/fakes/software_key.h"

namespace smartkey {
namespace {

// RFC 7638 section 3.1.
constexpr char kRsaJwk[] =
    R"({"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7)"
    R"(aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0)"
    R"(h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD0)"
    R"(8qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJ)"
    R"(zKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"})";
constexpr char kRsaThumbprint[] = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

// The key of RFC 7515 appendix A.3.
constexpr char kEcJwk[] =
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";

// RFC 9449 section 6.1 gives this key's thumbprint as jkt.
constexpr char kDpopJwk[] = R"({"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",)"
                            R"("y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"})";
constexpr char kDpopThumbprint[] = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

PublicKey Parse(absl::string_view text) {
  return ParseJwk(ParseJson(text).value()).value();
}

nlohmann::json EcJwk() {
  return ParseJson(kEcJwk).value();
}

TEST(JwkThumbprint, RsaKeyOfRfc7638) {
  EXPECT_EQ(JwkThumbprint(Parse(kRsaJwk)), kRsaThumbprint);
}

TEST(JwkThumbprint, EcKeyOfRfc9449) {
  EXPECT_EQ(JwkThumbprint(Parse(kDpopJwk)), kDpopThumbprint);
}

TEST(Jwk, EcKey_HasExactlyTheMembersOfAnInlineRegistration) {
  const PublicKey key = Parse(kEcJwk);
  nlohmann::json expected = EcJwk();
  expected["kid"] = JwkThumbprint(key);
  expected["use"] = "sig";
  expected["alg"] = "ES256";
  EXPECT_EQ(ToJwk(key, SignatureAlgorithm::kEs256), expected);
}

TEST(Jwk, RsaKey_HasExactlyTheMembersOfAnInlineRegistration) {
  nlohmann::json expected = ParseJson(kRsaJwk).value();
  expected["kid"] = kRsaThumbprint;
  expected["use"] = "sig";
  expected["alg"] = "RS384";
  EXPECT_EQ(ToJwk(Parse(kRsaJwk), SignatureAlgorithm::kRs384), expected);
}

TEST(Jwk, CoordinateWithLeadingZeros_IsWrittenInFullLength) {
  PublicKey key;
  key.type = KeyType::kEcP384;
  key.x = std::string(2, '\0') + std::string(46, '\x11');
  key.y = std::string(48, '\x22');
  const nlohmann::json jwk = ToJwk(key, SignatureAlgorithm::kEs384);
  EXPECT_EQ(jwk["crv"], "P-384");
  EXPECT_EQ(jwk["x"].get<std::string>().size(), 64u);
  EXPECT_EQ(Base64UrlDecode(jwk["x"].get<std::string>()).value(), key.x);
  EXPECT_EQ(ParseJwk(jwk).value(), key);
}

TEST(Jwk, GeneratedKeysOfEveryAlgorithm_ComeBackEqual) {
  for (const SignatureAlgorithm algorithm :
       {SignatureAlgorithm::kEs256, SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs256}) {
    const PublicKey key = SoftwareKey::Generate(algorithm).public_key();
    EXPECT_EQ(ParseJwk(ToJwk(key, algorithm)).value(), key);
  }
}

TEST(ParseJwk, CoordinateOfTheWrongLength_IsRefused) {
  nlohmann::json jwk = EcJwk();
  jwk["x"] = Base64UrlEncode(std::string(31, '\x01'));
  EXPECT_FALSE(ParseJwk(jwk).ok());
  jwk["x"] = Base64UrlEncode(std::string(33, '\x01'));
  EXPECT_FALSE(ParseJwk(jwk).ok());
}

TEST(ParseJwk, PrivateMember_IsRefused) {
  nlohmann::json jwk = EcJwk();
  jwk["d"] = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
  EXPECT_FALSE(ParseJwk(jwk).ok());
}

TEST(ParseJwk, UnknownOrMissingMembers_AreRefused) {
  for (const char* member : {"kty", "crv", "x", "y"}) {
    nlohmann::json jwk = EcJwk();
    jwk.erase(member);
    EXPECT_FALSE(ParseJwk(jwk).ok()) << member;
    jwk[member] = 5;
    EXPECT_FALSE(ParseJwk(jwk).ok()) << member;
    jwk[member] = "";
    EXPECT_FALSE(ParseJwk(jwk).ok()) << member;
  }
  EXPECT_FALSE(ParseJwk({{"kty", "oct"}, {"k", "AQAB"}}).ok());
  EXPECT_FALSE(ParseJwk({{"kty", "RSA"}, {"n", "AAAA"}, {"e", "AQAB"}}).ok());
  EXPECT_FALSE(ParseJwk("EC").ok());
  EXPECT_FALSE(ParseJwk(nullptr).ok());
}

TEST(ParseJwk, RsaNumberWithLeadingZeroOctet_IsTheSameKey) {
  const PublicKey key = Parse(kRsaJwk);
  nlohmann::json jwk = ToJwk(key, SignatureAlgorithm::kRs256);
  jwk["n"] = Base64UrlEncode(std::string(1, '\0') + key.n);
  EXPECT_EQ(ParseJwk(jwk).value(), key);
}

}  // namespace
}  // namespace smartkey
