// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

#include "base/error.h"

namespace smartkey {
namespace {

constexpr size_t kModulusOctets = 256;
constexpr char kUncompressed = 0x04;
constexpr char kOctetString = 0x04;

// 1.2.840.10045.3.1.7 and 1.3.132.0.34.
constexpr absl::string_view kP256("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10);
constexpr absl::string_view kP384("\x06\x05\x2b\x81\x04\x00\x22", 7);

absl::Status Odd(absl::string_view what) {
  return MakeError(Reason::kHardwareError, what);
}

absl::string_view WithoutLeadingZeros(absl::string_view integer) {
  while (!integer.empty() && integer.front() == '\0') integer.remove_prefix(1);
  return integer;
}

// A number of an OpenSSL key, as short as possible; empty if it has none of this name.
std::string Number(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  const bool there = EVP_PKEY_get_bn_param(key, name, &raw) == 1;
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(raw, &BN_free);
  if (!there) return "";
  std::string octets(static_cast<size_t>(BN_num_bytes(number.get())), '\0');
  BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(octets.data()));
  return octets;
}

std::string Point(const EVP_PKEY* key) {
  std::string point(2 * 66 + 1, '\0');
  size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY,
                                      reinterpret_cast<unsigned char*>(point.data()), point.size(),
                                      &size) != 1) {
    return "";
  }
  point.resize(size);
  return point;
}

absl::string_view GroupOf(KeyType type) {
  return type == KeyType::kEcP256 ? "prime256v1" : "secp384r1";
}

}  // namespace

absl::string_view EcParameters(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return kP256;
    case KeyType::kEcP384:
      return kP384;
    case KeyType::kRsa:
      return "";
  }
  return "";
}

absl::optional<KeyType> KeyTypeOfEcParameters(absl::string_view parameters) {
  if (parameters == kP256) return KeyType::kEcP256;
  if (parameters == kP384) return KeyType::kEcP384;
  return absl::nullopt;
}

absl::StatusOr<PublicKey> EcPublicKey(KeyType type, absl::string_view ec_point) {
  const size_t field = FieldSize(type);
  const size_t size = 1 + 2 * field;
  absl::string_view point = ec_point;
  // The two forms differ in length, so neither can be taken for the other. Both lengths fit one
  // octet in DER.
  if (field != 0 && point.size() == size + 2 && point[0] == kOctetString &&
      static_cast<unsigned char>(point[1]) == size) {
    point.remove_prefix(2);
  }
  if (field == 0 || point.size() != size || point[0] != kUncompressed) {
    return Odd("pkcs11: the token's ec point is in no known form");
  }
  PublicKey key;
  key.type = type;
  key.x = std::string(point.substr(1, field));
  key.y = std::string(point.substr(1 + field));
  return key;
}

absl::StatusOr<PublicKey> RsaPublicKey(absl::string_view modulus, absl::string_view exponent) {
  const absl::string_view n = WithoutLeadingZeros(modulus);
  const absl::string_view e = WithoutLeadingZeros(exponent);
  if (n.size() != kModulusOctets || (static_cast<unsigned char>(n[0]) & 0x80) == 0) {
    return Odd("pkcs11: the token's rsa key has not 2048 bits");
  }
  // Odd and more than 1, and no longer than any that is used.
  if (e.empty() || e.size() > 8 || (e.back() & 1) == 0 || e == "\x01") {
    return Odd("pkcs11: the token's rsa key has no sound exponent");
  }
  PublicKey key;
  key.type = KeyType::kRsa;
  key.n = std::string(n);
  key.e = std::string(e);
  return key;
}

absl::StatusOr<PublicKey> PublicKeyFromInfo(KeyType type, absl::string_view der) {
  const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* at = begin;
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())), &EVP_PKEY_free);
  ERR_clear_error();
  if (key == nullptr || at != begin + der.size()) {
    return Odd("pkcs11: the token's public key information cannot be read");
  }
  if (type == KeyType::kRsa) {
    return RsaPublicKey(Number(key.get(), OSSL_PKEY_PARAM_RSA_N),
                        Number(key.get(), OSSL_PKEY_PARAM_RSA_E));
  }
  char group[64] = "";
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key.get(), group, sizeof(group), &size) != 1 ||
      absl::string_view(group, size) != GroupOf(type)) {
    ERR_clear_error();
    return Odd("pkcs11: the token's public key information is of another curve");
  }
  return EcPublicKey(type, Point(key.get()));
}

}  // namespace smartkey
