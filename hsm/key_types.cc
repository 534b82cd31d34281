// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_types.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "hsm/ecdsa_signature.h"

namespace smartkey {
namespace {

struct AlgorithmRow {
  SignatureAlgorithm algorithm;
  absl::string_view name;
  KeyType key_type;
  const EVP_MD* (*digest)();
};

constexpr AlgorithmRow kAlgorithms[] = {
    {SignatureAlgorithm::kEs256, "ES256", KeyType::kEcP256, &EVP_sha256},
    {SignatureAlgorithm::kEs384, "ES384", KeyType::kEcP384, &EVP_sha384},
    {SignatureAlgorithm::kRs256, "RS256", KeyType::kRsa, &EVP_sha256},
    {SignatureAlgorithm::kRs384, "RS384", KeyType::kRsa, &EVP_sha384},
};

const AlgorithmRow& RowFor(SignatureAlgorithm algorithm) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.algorithm == algorithm) return row;
  }
  return kAlgorithms[0];
}

using EvpKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bignum = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)>;

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Null if OpenSSL refuses the parameters: wrong lengths, a point that is not on the curve.
EvpKey FromParameters(const char* type, OSSL_PARAM_BLD* builder) {
  EvpKey key(nullptr, &EVP_PKEY_free);
  std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)> params(OSSL_PARAM_BLD_to_param(builder),
                                                                 &OSSL_PARAM_free);
  std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr), &EVP_PKEY_CTX_free);
  EVP_PKEY* raw = nullptr;
  if (params != nullptr && context != nullptr && EVP_PKEY_fromdata_init(context.get()) == 1 &&
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, params.get()) == 1) {
    key.reset(raw);
  }
  return key;
}

EvpKey ToOpenSsl(const PublicKey& key) {
  ParamBuilder builder(OSSL_PARAM_BLD_new(), &OSSL_PARAM_BLD_free);
  if (builder == nullptr) return EvpKey(nullptr, &EVP_PKEY_free);
  if (key.type == KeyType::kRsa) {
    // The builder keeps references: the numbers must live until the parameters are made.
    Bignum n(BN_bin2bn(Bytes(key.n), static_cast<int>(key.n.size()), nullptr), &BN_free);
    Bignum e(BN_bin2bn(Bytes(key.e), static_cast<int>(key.e.size()), nullptr), &BN_free);
    if (n == nullptr || e == nullptr ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
      return EvpKey(nullptr, &EVP_PKEY_free);
    }
    return FromParameters("RSA", builder.get());
  }
  const size_t field = FieldSize(key.type);
  if (key.x.size() != field || key.y.size() != field) return EvpKey(nullptr, &EVP_PKEY_free);
  const std::string point = absl::StrCat("\x04", key.x, key.y);  // SEC 1 2.3.3, uncompressed
  const char* curve = key.type == KeyType::kEcP256 ? "P-256" : "P-384";
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve, 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1) {
    return EvpKey(nullptr, &EVP_PKEY_free);
  }
  return FromParameters("EC", builder.get());
}

}  // namespace

bool EndsWithItsReference(const KeyReference& key) {
  return key.provider == "tpm";
}

absl::string_view AlgorithmName(SignatureAlgorithm algorithm) {
  return RowFor(algorithm).name;
}

absl::optional<SignatureAlgorithm> AlgorithmFromName(absl::string_view name) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.name == name) return row.algorithm;
  }
  return absl::nullopt;
}

KeyType KeyTypeFor(SignatureAlgorithm algorithm) {
  return RowFor(algorithm).key_type;
}

size_t FieldSize(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return 32;
    case KeyType::kEcP384:
      return 48;
    case KeyType::kRsa:
      return 0;
  }
  return 0;
}

bool VerifySignature(const PublicKey& key, SignatureAlgorithm algorithm, absl::string_view message,
                     absl::string_view signature) {
  const AlgorithmRow& row = RowFor(algorithm);
  if (row.key_type != key.type) return false;
  std::string raw(signature);
  if (key.type != KeyType::kRsa) {
    absl::StatusOr<std::string> der = DerFromJose(signature, FieldSize(key.type));
    if (!der.ok()) return false;
    raw = *std::move(der);
  }
  const EvpKey evp = ToOpenSsl(key);
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free);
  // RSA: OpenSSL's default padding is PKCS#1 v1.5, which is what RS256 and RS384 are.
  const bool valid =
      evp != nullptr && context != nullptr &&
      EVP_DigestVerifyInit(context.get(), nullptr, row.digest(), nullptr, evp.get()) == 1 &&
      EVP_DigestVerify(context.get(), Bytes(raw), raw.size(), Bytes(message), message.size()) == 1;
  ERR_clear_error();  // a wrong signature is an answer, not something for the next user of OpenSSL
  return valid;
}

}  // namespace smartkey
