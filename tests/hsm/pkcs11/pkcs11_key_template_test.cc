// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_template.h"

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_capabilities.h"
#include "tests/fakes/fake_pkcs11_module.h"

namespace smartkey {
namespace {

using testing::HasSubstr;

std::map<CK_ATTRIBUTE_TYPE, std::string> AsMap(const Pkcs11Template& attributes) {
  std::map<CK_ATTRIBUTE_TYPE, std::string> map;
  for (const CK_ATTRIBUTE& attribute : attributes.attributes()) {
    map[attribute.type] =
        std::string(static_cast<const char*>(attribute.pValue), attribute.ulValueLen);
  }
  return map;
}

const std::string kTrue(1, '\1');
const std::string kFalse(1, '\0');

TEST(SigningKeyPairTemplate, PrivateHalf_OnlySignsAndStaysInside) {
  const auto map = AsMap(SigningKeyPairTemplate(KeyType::kEcP256, "id", "label", {}).private_half);
  for (const CK_ATTRIBUTE_TYPE yes : {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN}) {
    EXPECT_EQ(map.at(yes), kTrue) << yes;
  }
  for (const CK_ATTRIBUTE_TYPE no :
       {CKA_EXTRACTABLE, CKA_DECRYPT, CKA_SIGN_RECOVER, CKA_UNWRAP, CKA_DERIVE}) {
    EXPECT_EQ(map.at(no), kFalse) << no;
  }
  EXPECT_EQ(map.at(CKA_ID), "id");
  EXPECT_EQ(map.at(CKA_LABEL), "label");
}

TEST(SigningKeyPairTemplate, PublicHalf_SaysWhichKeyIsMade) {
  const KeyPairTemplate p384 = SigningKeyPairTemplate(KeyType::kEcP384, "id", "label", {});
  EXPECT_EQ(p384.mechanism, CKM_EC_KEY_PAIR_GEN);
  EXPECT_EQ(AsMap(p384.public_half).at(CKA_EC_PARAMS),
            std::string("\x06\x05\x2b\x81\x04\x00\x22", 7));
  const KeyPairTemplate rsa = SigningKeyPairTemplate(KeyType::kRsa, "id", "label", {});
  EXPECT_EQ(rsa.mechanism, CKM_RSA_PKCS_KEY_PAIR_GEN);
  const CK_ULONG bits = 2048;
  EXPECT_EQ(AsMap(rsa.public_half).at(CKA_MODULUS_BITS),
            std::string(reinterpret_cast<const char*>(&bits), sizeof(bits)));
  EXPECT_EQ(AsMap(rsa.public_half).at(CKA_PUBLIC_EXPONENT), std::string("\x01\x00\x01", 3));
}

TEST(TemplateConcessions, NothingThatProtects_IsEverConceded) {
  const std::vector<TemplateConcession> all = TemplateConcessions();
  EXPECT_TRUE(all[0].left_out.empty());
  EXPECT_FALSE(all[0].public_half_in_session);
  for (const TemplateConcession& concession : all) {
    const auto map =
        AsMap(SigningKeyPairTemplate(KeyType::kEcP256, "id", "label", concession).private_half);
    EXPECT_EQ(map.at(CKA_SENSITIVE), kTrue);
    EXPECT_EQ(map.at(CKA_EXTRACTABLE), kFalse);
    EXPECT_EQ(map.at(CKA_TOKEN), kTrue);
    EXPECT_EQ(map.at(CKA_PRIVATE), kTrue);
    for (const CK_ATTRIBUTE_TYPE left_out : concession.left_out) EXPECT_EQ(map.count(left_out), 0u);
  }
}

const std::vector<KeyAttribute> kPerfect = {{"CKA_SENSITIVE", true},
                                            {"CKA_EXTRACTABLE", false},
                                            {"CKA_ALWAYS_SENSITIVE", true},
                                            {"CKA_NEVER_EXTRACTABLE", true},
                                            {"CKA_SIGN", true},
                                            {"CKA_TOKEN", true},
                                            {"CKA_PRIVATE", true},
                                            {"CKA_LOCAL", true},
                                            {"CKA_DECRYPT", false},
                                            {"CKA_SIGN_RECOVER", false},
                                            {"CKA_UNWRAP", false},
                                            {"CKA_DERIVE", false},
                                            {"CKA_ALWAYS_AUTHENTICATE", false}};

std::vector<KeyAttribute> With(const std::string& name, absl::optional<bool> value) {
  std::vector<KeyAttribute> attributes;
  for (const KeyAttribute& attribute : kPerfect) {
    if (attribute.name != name) {
      attributes.push_back(attribute);
    } else if (value.has_value()) {
      attributes.push_back({name, *value});
    }
  }
  return attributes;
}

TEST(CheckKeyAttributes, PerfectKey_IsAcceptedEvenStrictly) {
  EXPECT_TRUE(CheckKeyAttributes(kPerfect, /*strict=*/true).ok());
  EXPECT_TRUE(CheckKeyAttributes(With("CKA_ALWAYS_AUTHENTICATE", true), true).ok());
}

TEST(CheckKeyAttributes, RequiredOnes_AreRequiredOfEveryToken) {
  for (size_t i = 0; i < 7; ++i) {
    const KeyAttribute& required = kPerfect[i];
    for (const absl::optional<bool>& value : {absl::optional<bool>(!required.value), {}}) {
      const absl::Status status = CheckKeyAttributes(With(required.name, value), false);
      EXPECT_EQ(ReasonOf(status), Reason::kKeyNotProtected) << required.name;
      EXPECT_THAT(std::string(status.message()), HasSubstr(required.name));
    }
  }
}

TEST(CheckKeyAttributes, WhatIsOnlyAskedFor_IsRequiredIfStrict) {
  for (const char* unwanted : {"CKA_DECRYPT", "CKA_SIGN_RECOVER", "CKA_UNWRAP", "CKA_DERIVE"}) {
    EXPECT_TRUE(CheckKeyAttributes(With(unwanted, true), false).ok());
    EXPECT_EQ(ReasonOf(CheckKeyAttributes(With(unwanted, true), true)), Reason::kKeyNotProtected);
    EXPECT_TRUE(CheckKeyAttributes(With(unwanted, {}), true).ok()) << "not known, so not possible";
  }
  EXPECT_TRUE(CheckKeyAttributes(With("CKA_LOCAL", false), false).ok());
  EXPECT_FALSE(CheckKeyAttributes(With("CKA_LOCAL", false), true).ok());
  EXPECT_FALSE(CheckKeyAttributes(With("CKA_LOCAL", {}), true).ok());
}

TEST(CheckKeyAttributes, AllThatIsWrong_IsNamed) {
  std::vector<KeyAttribute> attributes = With("CKA_LOCAL", false);
  for (KeyAttribute& attribute : attributes) {
    if (attribute.name == "CKA_DECRYPT") attribute.value = true;
  }
  EXPECT_EQ(CheckKeyAttributes(attributes, true).message(),
            "the token made a key with CKA_LOCAL=0, CKA_DECRYPT=1");
}

class ProbeSigningsTest : public testing::Test {
 protected:
  ProbeSigningsTest() : token_(module_.AddToken()) { module_.initialized = true; }

  // "ES384 raw, RS256 hashing".
  std::string Probed() {
    absl::StatusOr<std::vector<Pkcs11Signing>> signings =
        ProbeSignings(*FakePkcs11::Functions(), 10);
    if (!signings.ok()) return std::string(signings.status().message());
    std::string text;
    for (const Pkcs11Signing& signing : *signings) {
      text += (text.empty() ? "" : ", ") + std::string(AlgorithmName(signing.algorithm)) +
              (signing.token_hashes ? " hashing" : " raw");
    }
    return text;
  }

  FakePkcs11 module_;
  FakePkcs11Token& token_;
};

TEST_F(ProbeSigningsTest, BothKindsOfMechanism_TheRawOneIsTaken) {
  EXPECT_EQ(Probed(), "ES384 raw, RS384 raw, ES256 raw, RS256 raw");
}

TEST_F(ProbeSigningsTest, NoRawMechanism_TheTokenHashes) {
  token_.has_raw_mechanisms = false;
  EXPECT_EQ(Probed(), "ES384 hashing, RS384 hashing, ES256 hashing, RS256 hashing");
}

TEST_F(ProbeSigningsTest, CurveTooLarge_IsNotOffered) {
  token_.most_ec_bits = 256;
  EXPECT_EQ(Probed(), "RS384 raw, ES256 raw, RS256 raw");
  token_.most_ec_bits = 0;  // not told
  EXPECT_EQ(Probed(), "ES384 raw, RS384 raw, ES256 raw, RS256 raw");
}

TEST_F(ProbeSigningsTest, NothingToSignWith_IsNotAnError) {
  token_.has_raw_mechanisms = token_.has_hashing_mechanisms = false;
  EXPECT_EQ(Probed(), "");
}

TEST_F(ProbeSigningsTest, TokenInTrouble_IsNotTakenForOneWithoutTheMechanism) {
  module_.FailNext("C_GetMechanismInfo", CKR_DEVICE_ERROR);
  EXPECT_THAT(Probed(), HasSubstr("CKR_DEVICE_ERROR"));
}

TEST(SignInput, IsMessageDigestOrDigestInfo) {
  EXPECT_EQ(SignInput({SignatureAlgorithm::kEs256, CKM_ECDSA_SHA256, true}, "message"), "message");
  EXPECT_EQ(SignInput({SignatureAlgorithm::kEs256, CKM_ECDSA, false}, "message").size(), 32u);
  EXPECT_EQ(SignInput({SignatureAlgorithm::kEs384, CKM_ECDSA, false}, "message").size(), 48u);
  EXPECT_EQ(SignInput({SignatureAlgorithm::kRs256, CKM_RSA_PKCS, false}, "message").size(), 51u);
  EXPECT_EQ(SignInput({SignatureAlgorithm::kRs384, CKM_RSA_PKCS, false}, "message").size(), 67u);
}

}  // namespace
}  // namespace smartkey
