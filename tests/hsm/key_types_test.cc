// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_types.h"

#include <array>

#include "gtest/gtest.h"
#include "hsm/key_service.h"
#include "tests/fakes/software_key.h"

namespace smartkey {
namespace {

constexpr std::array kAll = {SignatureAlgorithm::kEs256, SignatureAlgorithm::kEs384,
                             SignatureAlgorithm::kRs256, SignatureAlgorithm::kRs384};

TEST(AlgorithmNames, AreThoseOfJwsAndReadBack) {
  EXPECT_EQ(AlgorithmName(SignatureAlgorithm::kEs256), "ES256");
  EXPECT_EQ(AlgorithmName(SignatureAlgorithm::kEs384), "ES384");
  EXPECT_EQ(AlgorithmName(SignatureAlgorithm::kRs256), "RS256");
  EXPECT_EQ(AlgorithmName(SignatureAlgorithm::kRs384), "RS384");
  for (const SignatureAlgorithm algorithm : kAll) {
    EXPECT_EQ(AlgorithmFromName(AlgorithmName(algorithm)), algorithm);
  }
  for (const char* unknown : {"", "es256", "ES512", "none", "HS256", "PS256"}) {
    EXPECT_EQ(AlgorithmFromName(unknown), absl::nullopt) << unknown;
  }
}

TEST(ProviderStateNames, AreWords) {
  EXPECT_EQ(ProviderStateName(ProviderState::kReady), "READY");
  EXPECT_EQ(ProviderStateName(ProviderState::kDegraded), "DEGRADED");
  EXPECT_EQ(ProviderStateName(ProviderState::kAbsent), "ABSENT");
}

TEST(VerifySignature, RightSignature_IsTrueForEachAlgorithm) {
  for (const SignatureAlgorithm algorithm : kAll) {
    SCOPED_TRACE(AlgorithmName(algorithm));
    const SoftwareKey key = SoftwareKey::Generate(algorithm);
    for (const char* message : {"", "a message"}) {
      EXPECT_TRUE(VerifySignature(key.public_key(), algorithm, message, key.Sign(message)));
    }
  }
}

TEST(VerifySignature, AnythingElse_IsFalse) {
  for (const SignatureAlgorithm algorithm : kAll) {
    SCOPED_TRACE(AlgorithmName(algorithm));
    const SoftwareKey key = SoftwareKey::Generate(algorithm);
    const std::string signature = key.Sign("message");
    EXPECT_FALSE(VerifySignature(key.public_key(), algorithm, "another message", signature));
    EXPECT_FALSE(VerifySignature(key.public_key(), algorithm, "message", ""));
    EXPECT_FALSE(VerifySignature(key.public_key(), algorithm, "message",
                                 signature.substr(0, signature.size() - 1)));
    EXPECT_FALSE(VerifySignature(key.public_key(), algorithm, "message", signature + '\0'));
    std::string flipped = signature;
    flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
    EXPECT_FALSE(VerifySignature(key.public_key(), algorithm, "message", flipped));
    const SoftwareKey other = SoftwareKey::Generate(algorithm);
    EXPECT_FALSE(VerifySignature(other.public_key(), algorithm, "message", signature));
    for (const SignatureAlgorithm wrong : kAll) {
      if (wrong == algorithm) continue;
      EXPECT_FALSE(VerifySignature(key.public_key(), wrong, "message", signature));
    }
  }
}

TEST(VerifySignature, KeyThatIsNone_IsFalse) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  const std::string signature = key.Sign("message");
  PublicKey off_curve = key.public_key();
  off_curve.y[31] = static_cast<char>(off_curve.y[31] ^ 1);
  PublicKey short_x = key.public_key();
  short_x.x.pop_back();
  for (const PublicKey& bad : {PublicKey(), off_curve, short_x}) {
    EXPECT_FALSE(VerifySignature(bad, SignatureAlgorithm::kEs256, "message", signature));
  }
  PublicKey empty_rsa;
  empty_rsa.type = KeyType::kRsa;
  EXPECT_FALSE(VerifySignature(empty_rsa, SignatureAlgorithm::kRs256, "message", "signature"));
}

}  // namespace
}  // namespace smartkey
