// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/x509.h>

#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

std::string Wrapped(const std::string& point) {
  return absl::StrCat("\x04", std::string(1, static_cast<char>(point.size())), point);
}

// k * G for growing k, uncompressed.
class Points {
 public:
  explicit Points(int curve)
      : group_(EC_GROUP_new_by_curve_name(curve), &EC_GROUP_free),
        point_(EC_POINT_dup(EC_GROUP_get0_generator(group_.get()), group_.get()), &EC_POINT_free) {}

  std::string Next() {
    EC_POINT_add(group_.get(), point_.get(), point_.get(), EC_GROUP_get0_generator(group_.get()),
                 nullptr);
    std::string octets(200, '\0');
    octets.resize(EC_POINT_point2oct(group_.get(), point_.get(), POINT_CONVERSION_UNCOMPRESSED,
                                     reinterpret_cast<unsigned char*>(octets.data()), octets.size(),
                                     nullptr));
    return octets;
  }

 private:
  std::unique_ptr<EC_GROUP, decltype(&EC_GROUP_free)> group_;
  std::unique_ptr<EC_POINT, decltype(&EC_POINT_free)> point_;
};

TEST(EcPublicKey, TenThousandPoints_AreReadInBothFormsWithTheirLeadingZeros) {
  int leading_zeros = 0;
  for (const auto& [type, curve] :
       {std::pair{KeyType::kEcP256, NID_X9_62_prime256v1}, {KeyType::kEcP384, NID_secp384r1}}) {
    Points points(curve);
    const size_t field = FieldSize(type);
    for (int i = 0; i < 10'000; ++i) {
      const std::string point = points.Next();
      const absl::StatusOr<PublicKey> raw = EcPublicKey(type, point);
      const absl::StatusOr<PublicKey> wrapped = EcPublicKey(type, Wrapped(point));
      ASSERT_TRUE(raw.ok() && wrapped.ok()) << raw.status() << wrapped.status();
      ASSERT_EQ(*raw, *wrapped);
      ASSERT_EQ(absl::StrCat("\x04", raw->x, raw->y), point);
      ASSERT_EQ(raw->x.size(), field);
      if (raw->x[0] == 0 || raw->y[0] == 0) ++leading_zeros;
    }
  }
  EXPECT_GT(leading_zeros, 50) << "too few to show anything";
}

TEST(EcPublicKey, OddForms_AreRefused) {
  const std::string point = Points(NID_X9_62_prime256v1).Next();
  std::string wrong_length = Wrapped(point);
  wrong_length[1] = 0x42;
  std::string long_form = absl::StrCat("\x04\x81\x41", point);
  std::string hybrid = point;
  hybrid[0] = 0x06;
  const std::string compressed = absl::StrCat("\x02", point.substr(1, 32));
  for (const std::string& odd :
       {std::string(), point + "x", Wrapped(point) + "x", point.substr(1), wrong_length, long_form,
        hybrid, Wrapped(hybrid), compressed, Wrapped(compressed), Wrapped(Wrapped(point)),
        absl::StrCat("\x03\x42", std::string(1, '\0'), point)}) {
    EXPECT_EQ(ReasonOf(EcPublicKey(KeyType::kEcP256, odd).status()), Reason::kHardwareError);
  }
  EXPECT_FALSE(EcPublicKey(KeyType::kEcP384, point).ok());
  EXPECT_FALSE(EcPublicKey(KeyType::kRsa, point).ok());
}

TEST(EcParameters, EachCurve_IsKnownByItsOid) {
  for (const KeyType type : {KeyType::kEcP256, KeyType::kEcP384}) {
    EXPECT_EQ(KeyTypeOfEcParameters(EcParameters(type)), type);
  }
  EXPECT_EQ(KeyTypeOfEcParameters(""), absl::nullopt);
  EXPECT_EQ(KeyTypeOfEcParameters("\x06\x05\x2b\x81\x04\x00\x23"), absl::nullopt);  // P-521
}

TEST(RsaPublicKey, LeadingZeros_AreTakenAway) {
  const std::string modulus = "\xC1" + std::string(255, 'm');
  const std::string exponent("\x01\x00\x01", 3);
  for (const auto& [n, e] : {std::pair{modulus, exponent},
                             {std::string(1, '\0') + modulus, std::string(5, '\0') + exponent}}) {
    const absl::StatusOr<PublicKey> key = RsaPublicKey(n, e);
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(key->n, modulus);
    EXPECT_EQ(key->e, exponent);
    EXPECT_EQ(key->type, KeyType::kRsa);
  }
}

TEST(RsaPublicKey, OtherSizesAndUnsoundExponents_AreRefused) {
  const std::string modulus = "\xC1" + std::string(255, 'm');
  const std::string exponent("\x01\x00\x01", 3);
  EXPECT_FALSE(RsaPublicKey("", exponent).ok());
  EXPECT_FALSE(RsaPublicKey(modulus + "x", exponent).ok());
  EXPECT_FALSE(RsaPublicKey(modulus.substr(0, 128), exponent).ok());
  EXPECT_FALSE(RsaPublicKey("\x41" + std::string(255, 'm'), exponent).ok()) << "2047 bits";
  for (const std::string& wrong : {std::string(), std::string("\0", 1), std::string("\x01"),
                                   std::string("\x02"), std::string(9, '\x03')}) {
    EXPECT_FALSE(RsaPublicKey(modulus, wrong).ok());
  }
}

std::string InfoOf(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  std::string info(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return info;
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

TEST(PublicKeyFromInfo, KeysOfEachType_AreRead) {
  const Key p256(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Key p384(EVP_EC_gen("P-384"), &EVP_PKEY_free);
  const Key rsa(EVP_RSA_gen(2048), &EVP_PKEY_free);
  EXPECT_EQ(PublicKeyFromInfo(KeyType::kEcP256, InfoOf(p256.get()))->x.size(), 32u);
  EXPECT_EQ(PublicKeyFromInfo(KeyType::kEcP384, InfoOf(p384.get()))->y.size(), 48u);
  EXPECT_EQ(PublicKeyFromInfo(KeyType::kRsa, InfoOf(rsa.get()))->n.size(), 256u);

  EXPECT_FALSE(PublicKeyFromInfo(KeyType::kEcP384, InfoOf(p256.get())).ok());
  EXPECT_FALSE(PublicKeyFromInfo(KeyType::kEcP256, InfoOf(rsa.get())).ok());
  EXPECT_FALSE(PublicKeyFromInfo(KeyType::kRsa, InfoOf(p256.get())).ok());
  EXPECT_FALSE(PublicKeyFromInfo(KeyType::kEcP256, InfoOf(p256.get()) + "x").ok());
  EXPECT_FALSE(PublicKeyFromInfo(KeyType::kEcP256, "").ok());
}

TEST(PublicKeyFromInfo, TheSameKeyAsThePoint) {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  std::string point(65, '\0');
  size_t size = 0;
  ASSERT_EQ(EVP_PKEY_get_octet_string_param(key.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                            reinterpret_cast<unsigned char*>(point.data()),
                                            point.size(), &size),
            1);
  EXPECT_EQ(PublicKeyFromInfo(KeyType::kEcP256, InfoOf(key.get())).value(),
            EcPublicKey(KeyType::kEcP256, point).value());
}

}  // namespace
}  // namespace smartkey
