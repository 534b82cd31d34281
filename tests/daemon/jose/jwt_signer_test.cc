// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/jwt_signer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/jose/jwk.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

SigningKey MakeSigningKey(FakeKeyService& keys, SignatureAlgorithm algorithm) {
  const CreatedKey made = keys.MakeKey(algorithm);
  return {made.reference, made.public_key, algorithm, JwkThumbprint(made.public_key)};
}

absl::StatusOr<Secret> Sign(FakeKeyService& keys, const SigningKey& key,
                            const nlohmann::json& claims = {{"iss", "c"}}) {
  absl::StatusOr<Secret> result = absl::UnknownError("done was not called");
  JwtSigner(keys).Sign(key, "JWT", claims, 1000, BootTime::InfiniteFuture(),
                       [&](absl::StatusOr<Secret> jws) { result = std::move(jws); });
  return result;
}

std::vector<std::string> PartsOf(const Secret& jws) {
  return absl::StrSplit(std::string(jws.RevealSecret()), '.');
}

// RFC 7515 appendix A.3: what the signer checks its own signatures with.
TEST(JwtSigner, SignatureOfRfc7515AppendixA3_Verifies) {
  PublicKey key;
  key.type = KeyType::kEcP256;
  key.x = Base64UrlDecode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").value();
  key.y = Base64UrlDecode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").value();
  const std::string message =
      "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
      "NvbS9pc19yb290Ijp0cnVlfQ";
  const std::string signature =
      Base64UrlDecode(
          "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
          .value();
  EXPECT_TRUE(VerifySignature(key, SignatureAlgorithm::kEs256, message, signature));
  EXPECT_FALSE(VerifySignature(key, SignatureAlgorithm::kEs256, message + "x", signature));
}

TEST(JwtSigner, HeaderIsExactlyAlgKidTyp) {
  FakeKeyService keys;
  SigningKey key = MakeSigningKey(keys, SignatureAlgorithm::kEs384);
  key.kid = "the-kid";
  const absl::StatusOr<Secret> jws = Sign(keys, key);
  ASSERT_TRUE(jws.ok()) << jws.status();
  EXPECT_EQ(Base64UrlDecode(PartsOf(*jws)[0]).value(),
            R"({"alg":"ES384","kid":"the-kid","typ":"JWT"})");
}

TEST(JwtSigner, EveryAlgorithm_CompactJwsVerifiesAndCarriesTheClaims) {
  for (const SignatureAlgorithm algorithm :
       {SignatureAlgorithm::kEs256, SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs256,
        SignatureAlgorithm::kRs384}) {
    FakeKeyService keys;
    const SigningKey key = MakeSigningKey(keys, algorithm);
    const absl::StatusOr<Secret> jws = Sign(keys, key, {{"iss", "c"}, {"exp", 5}});
    ASSERT_TRUE(jws.ok()) << jws.status();
    const std::vector<std::string> parts = PartsOf(*jws);
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(Base64UrlDecode(parts[1]).value(), R"({"exp":5,"iss":"c"})");
    EXPECT_TRUE(VerifySignature(key.public_key, algorithm, absl::StrCat(parts[0], ".", parts[1]),
                                Base64UrlDecode(parts[2]).value()));
  }
}

TEST(JwtSigner, P384_EverySignatureIsPaddedToNinetySixOctets) {
  FakeKeyService keys;
  const SigningKey key = MakeSigningKey(keys, SignatureAlgorithm::kEs384);
  for (int i = 0; i < 300; ++i) {  // about one in 128 has a short half
    const absl::StatusOr<Secret> jws = Sign(keys, key, {{"n", i}});
    ASSERT_TRUE(jws.ok()) << jws.status();
    ASSERT_EQ(Base64UrlDecode(PartsOf(*jws)[2]).value().size(), 96u);
  }
}

TEST(JwtSigner, HardwareGivesAWrongSignature_NothingLeaves) {
  for (const SignatureAlgorithm algorithm :
       {SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs256}) {
    FakeKeyService keys;
    const SigningKey key = MakeSigningKey(keys, algorithm);
    ASSERT_TRUE(Sign(keys, key).ok());
    EXPECT_EQ(keys.reopenings(), 0);
    keys.set_wrong_signatures(true);
    EXPECT_EQ(ReasonOf(Sign(keys, key).status()), Reason::kSignatureWrong);
    EXPECT_EQ(keys.reopenings(), 1) << "a key that is loaded wrongly stays so";
  }
}

TEST(JwtSigner, HardwareFails_ItsErrorComesOut) {
  FakeKeyService keys;
  const SigningKey key = MakeSigningKey(keys, SignatureAlgorithm::kEs256);
  keys.FailNextSign(MakeError(Reason::kTpmLockout, "locked"));
  EXPECT_EQ(ReasonOf(Sign(keys, key).status()), Reason::kTpmLockout);
}

TEST(JwtSigner, RequestCarriesCallerDeadlineAndKey) {
  FakeKeyService keys;
  const SigningKey key = MakeSigningKey(keys, SignatureAlgorithm::kEs256);
  const BootTime deadline = BootTime::FromSinceBoot(absl::Seconds(77));
  JwtSigner(keys).Sign(key, "JWT", {{"iss", "c"}}, 4711, deadline, [](absl::StatusOr<Secret>) {});
  ASSERT_EQ(keys.sign_requests().size(), 1u);
  EXPECT_EQ(keys.sign_requests()[0].caller, 4711u);
  EXPECT_EQ(keys.sign_requests()[0].deadline, deadline);
  EXPECT_EQ(keys.sign_requests()[0].key, key.reference);
  EXPECT_EQ(keys.sign_requests()[0].public_key, key.public_key);
}

TEST(JwtSigner, CancelledWhileQueued_DoneGetsCancelled) {
  FakeKeyService keys;
  const SigningKey key = MakeSigningKey(keys, SignatureAlgorithm::kEs256);
  keys.set_hold(true);
  absl::Status status;
  const JwtSigner signer(keys);
  const auto id = signer.Sign(key, "JWT", {{"iss", "c"}}, 1, BootTime::InfiniteFuture(),
                              [&](absl::StatusOr<Secret> jws) { status = jws.status(); });
  EXPECT_TRUE(signer.Cancel(id));
  EXPECT_EQ(ReasonOf(status), Reason::kCancelled);
}

}  // namespace
}  // namespace smartkey
