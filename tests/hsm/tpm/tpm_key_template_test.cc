// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_template.h"

#include <array>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hsm/tpm/tpm_key_blob.h"

namespace smartkey {
namespace {

constexpr std::array kAll = {SignatureAlgorithm::kEs256, SignatureAlgorithm::kEs384,
                             SignatureAlgorithm::kRs256, SignatureAlgorithm::kRs384};

std::string Hex(const TPM2B_PUBLIC& area) {
  return absl::BytesToHexString(MarshalPublic(area).value());
}

// Templates are for ever: with another octet, keys of earlier releases are not found again.
TEST(TpmKeyTemplate, OctetsAreThoseOfTheFirstRelease) {
  EXPECT_EQ(Hex(StorageRootTemplate()),
            absl::StrCat("005a0023000b00030472000000060080004300100003001000", "20",
                         std::string(64, '0'), "0020", std::string(64, '0')));
  EXPECT_EQ(Hex(SigningKeyTemplate(SignatureAlgorithm::kEs256)),
            "00180023000b00040472000000100018000b0003001000000000");
  EXPECT_EQ(Hex(SigningKeyTemplate(SignatureAlgorithm::kEs384)),
            "00180023000b00040472000000100018000c0004001000000000");
  EXPECT_EQ(Hex(SigningKeyTemplate(SignatureAlgorithm::kRs256)),
            "00180001000b00040472000000100014000b0800000100010000");
  EXPECT_EQ(Hex(SigningKeyTemplate(SignatureAlgorithm::kRs384)),
            "00180001000b00040472000000100014000c0800000100010000");
}

TEST(TpmKeyTemplate, IdsAreThoseOfTheFirstRelease) {
  EXPECT_EQ(AlgorithmOfTemplate(1), SignatureAlgorithm::kEs256);
  EXPECT_EQ(AlgorithmOfTemplate(2), SignatureAlgorithm::kEs384);
  EXPECT_EQ(AlgorithmOfTemplate(3), SignatureAlgorithm::kRs256);
  EXPECT_EQ(AlgorithmOfTemplate(4), SignatureAlgorithm::kRs384);
  EXPECT_EQ(AlgorithmOfTemplate(0), absl::nullopt);
  EXPECT_EQ(AlgorithmOfTemplate(5), absl::nullopt);
  for (const SignatureAlgorithm algorithm : kAll) {
    EXPECT_EQ(AlgorithmOfTemplate(static_cast<uint16_t>(TemplateIdFor(algorithm))), algorithm);
  }
}

TEST(TpmKeyTemplate, MatchesItsOwnAlgorithmOnly) {
  for (const SignatureAlgorithm algorithm : kAll) {
    for (const SignatureAlgorithm other : kAll) {
      EXPECT_EQ(MatchesTemplate(SigningKeyTemplate(algorithm).publicArea, other),
                algorithm == other);
    }
    EXPECT_FALSE(MatchesTemplate(StorageRootTemplate().publicArea, algorithm));
  }
}

TEST(TpmKeyTemplate, OneAttributeMoreOrLess_DoesNotMatch) {
  for (int bit = 0; bit < 32; ++bit) {
    TPMT_PUBLIC area = SigningKeyTemplate(SignatureAlgorithm::kEs256).publicArea;
    area.objectAttributes ^= TPMA_OBJECT{1} << bit;
    EXPECT_FALSE(MatchesTemplate(area, SignatureAlgorithm::kEs256)) << bit;
  }
}

TEST(IsStorageParent, StandardRootIsAndOthersAreNot) {
  EXPECT_TRUE(IsStorageParent(StorageRootTemplate().publicArea));
  EXPECT_FALSE(IsStorageParent(SigningKeyTemplate(SignatureAlgorithm::kEs256).publicArea));
  for (const TPMA_OBJECT needed :
       {TPMA_OBJECT_FIXEDTPM, TPMA_OBJECT_FIXEDPARENT, TPMA_OBJECT_USERWITHAUTH, TPMA_OBJECT_NODA,
        TPMA_OBJECT_RESTRICTED, TPMA_OBJECT_DECRYPT}) {
    TPMT_PUBLIC area = StorageRootTemplate().publicArea;
    area.objectAttributes &= ~needed;
    EXPECT_FALSE(IsStorageParent(area)) << needed;
  }
  TPMT_PUBLIC symmetric = StorageRootTemplate().publicArea;
  symmetric.type = TPM2_ALG_SYMCIPHER;
  EXPECT_FALSE(IsStorageParent(symmetric));
}

TEST(ToPublicKey, CoordinatesArePaddedAndCutToTheField) {
  TPMT_PUBLIC area = SigningKeyTemplate(SignatureAlgorithm::kEs256).publicArea;
  area.unique.ecc.x.size = 1;
  area.unique.ecc.x.buffer[0] = 7;
  area.unique.ecc.y.size = 33;
  area.unique.ecc.y.buffer[0] = 0;
  area.unique.ecc.y.buffer[1] = 0xFF;
  const absl::StatusOr<PublicKey> key = ToPublicKey(area);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->type, KeyType::kEcP256);
  EXPECT_EQ(key->x, std::string(31, '\0') + "\x07");
  EXPECT_EQ(key->y, "\xFF" + std::string(31, '\0'));
  area.unique.ecc.y.buffer[0] = 1;
  EXPECT_FALSE(ToPublicKey(area).ok());
}

TEST(ToPublicKey, RsaNumbersAreMinimal) {
  TPMT_PUBLIC area = SigningKeyTemplate(SignatureAlgorithm::kRs256).publicArea;
  area.unique.rsa.size = 3;
  area.unique.rsa.buffer[1] = 0xAB;
  area.unique.rsa.buffer[2] = 0xCD;
  for (const UINT32 exponent : {UINT32{0}, UINT32{65537}}) {
    area.parameters.rsaDetail.exponent = exponent;
    const absl::StatusOr<PublicKey> key = ToPublicKey(area);
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(key->n, "\xAB\xCD");
    EXPECT_EQ(key->e, std::string("\x01\x00\x01", 3));
  }
}

TEST(ToPublicKey, OtherTypesAndCurves_AreErrors) {
  TPMT_PUBLIC area = SigningKeyTemplate(SignatureAlgorithm::kEs256).publicArea;
  area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P521;
  EXPECT_FALSE(ToPublicKey(area).ok());
  area.type = TPM2_ALG_KEYEDHASH;
  EXPECT_FALSE(ToPublicKey(area).ok());
}

}  // namespace
}  // namespace smartkey
