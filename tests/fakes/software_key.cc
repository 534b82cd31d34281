// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/software_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>

#include "hsm/ecdsa_signature.h"

namespace smartkey {
namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "software key: %s failed\n", what);
  std::abort();
}

// Big-endian, padded to `size`; as short as possible for 0.
std::string Number(const EVP_PKEY* key, const char* name, int size) {
  BIGNUM* raw = nullptr;
  Require(EVP_PKEY_get_bn_param(key, name, &raw) == 1, name);
  std::unique_ptr<BIGNUM, decltype(&BN_free)> number(raw, &BN_free);
  if (size == 0) size = BN_num_bytes(number.get());
  std::string bytes(static_cast<size_t>(size), '\0');
  Require(BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(bytes.data()), size) == size,
          name);
  return bytes;
}

std::string Minimal(const BIGNUM* number) {
  std::string bytes(static_cast<size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  return bytes;
}

const EVP_MD* DigestFor(SignatureAlgorithm algorithm) {
  return algorithm == SignatureAlgorithm::kEs384 || algorithm == SignatureAlgorithm::kRs384
             ? EVP_sha384()
             : EVP_sha256();
}

}  // namespace

SoftwareKey SoftwareKey::Generate(SignatureAlgorithm algorithm) {
  SoftwareKey key;
  key.algorithm_ = algorithm;
  key.public_key_.type = KeyTypeFor(algorithm);
  EVP_PKEY* raw = nullptr;
  switch (key.public_key_.type) {
    case KeyType::kEcP256:
      raw = EVP_EC_gen("P-256");
      break;
    case KeyType::kEcP384:
      raw = EVP_EC_gen("P-384");
      break;
    case KeyType::kRsa:
      raw = EVP_RSA_gen(2048);
      break;
  }
  Require(raw != nullptr, "key generation");
  key.key_.reset(raw, &EVP_PKEY_free);
  if (key.public_key_.type == KeyType::kRsa) {
    key.public_key_.n = Number(raw, OSSL_PKEY_PARAM_RSA_N, 0);
    key.public_key_.e = Number(raw, OSSL_PKEY_PARAM_RSA_E, 0);
  } else {
    const int field = static_cast<int>(FieldSize(key.public_key_.type));
    key.public_key_.x = Number(raw, OSSL_PKEY_PARAM_EC_PUB_X, field);
    key.public_key_.y = Number(raw, OSSL_PKEY_PARAM_EC_PUB_Y, field);
  }
  return key;
}

std::string SoftwareKey::Sign(absl::string_view message) const {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free);
  Require(
      EVP_DigestSignInit(context.get(), nullptr, DigestFor(algorithm_), nullptr, key_.get()) == 1,
      "EVP_DigestSignInit");
  const auto* data = reinterpret_cast<const unsigned char*>(message.data());
  size_t size = 0;
  Require(EVP_DigestSign(context.get(), nullptr, &size, data, message.size()) == 1, "sizing");
  std::string signature(size, '\0');
  auto* out = reinterpret_cast<unsigned char*>(signature.data());
  Require(EVP_DigestSign(context.get(), out, &size, data, message.size()) == 1, "EVP_DigestSign");
  signature.resize(size);
  if (public_key_.type == KeyType::kRsa) return signature;

  const unsigned char* der = out;
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> parsed(
      d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size)), &ECDSA_SIG_free);
  Require(parsed != nullptr, "d2i_ECDSA_SIG");
  return JoseFromIntegers(Minimal(ECDSA_SIG_get0_r(parsed.get())),
                          Minimal(ECDSA_SIG_get0_s(parsed.get())), FieldSize(public_key_.type))
      .value();
}

}  // namespace smartkey
