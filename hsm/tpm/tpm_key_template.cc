// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_template.h"

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr UINT16 kRsaBits = 2048;
constexpr UINT32 kRsaExponent = 65537;

constexpr TPMA_OBJECT kSigningAttributes =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT;

constexpr TPMA_OBJECT kStorageAttributes =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

constexpr TPMA_OBJECT kSealedAttributes =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA;

// A parent may have been made by somebody else: only what our keys' safety and use hang on.
constexpr TPMA_OBJECT kParentNeeds = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                     TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                                     TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

TPMI_ALG_HASH HashFor(SignatureAlgorithm algorithm) {
  return NeedsSha384(algorithm) ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256;
}

absl::string_view Octets(const BYTE* data, UINT16 size) {
  return absl::string_view(reinterpret_cast<const char*>(data), size);
}

absl::string_view WithoutLeadingZeros(absl::string_view integer) {
  while (!integer.empty() && integer.front() == '\0') integer.remove_prefix(1);
  return integer;
}

absl::StatusOr<std::string> Padded(const TPM2B_ECC_PARAMETER& coordinate, size_t size) {
  const absl::string_view integer = WithoutLeadingZeros(Octets(coordinate.buffer, coordinate.size));
  if (integer.size() > size) {
    return MakeError(Reason::kHardwareError, "tpm gave a coordinate longer than the field");
  }
  std::string padded(size - integer.size(), '\0');
  padded.append(integer.data(), integer.size());
  return padded;
}

}  // namespace

TpmTemplateId TemplateIdFor(SignatureAlgorithm algorithm) {
  switch (algorithm) {
    case SignatureAlgorithm::kEs256:
      return TpmTemplateId::kEs256V1;
    case SignatureAlgorithm::kEs384:
      return TpmTemplateId::kEs384V1;
    case SignatureAlgorithm::kRs256:
      return TpmTemplateId::kRs256V1;
    case SignatureAlgorithm::kRs384:
      return TpmTemplateId::kRs384V1;
  }
  return TpmTemplateId::kEs256V1;
}

absl::optional<SignatureAlgorithm> AlgorithmOfTemplate(uint16_t id) {
  for (const SignatureAlgorithm algorithm :
       {SignatureAlgorithm::kEs256, SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs256,
        SignatureAlgorithm::kRs384}) {
    if (static_cast<uint16_t>(TemplateIdFor(algorithm)) == id) return algorithm;
  }
  return absl::nullopt;
}

bool NeedsSha384(SignatureAlgorithm algorithm) {
  return algorithm == SignatureAlgorithm::kEs384 || algorithm == SignatureAlgorithm::kRs384;
}

TPM2B_PUBLIC SigningKeyTemplate(SignatureAlgorithm algorithm) {
  TPM2B_PUBLIC result = {};
  TPMT_PUBLIC& area = result.publicArea;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kSigningAttributes;
  const KeyType type = KeyTypeFor(algorithm);
  if (type == KeyType::kRsa) {
    area.type = TPM2_ALG_RSA;
    TPMS_RSA_PARMS& rsa = area.parameters.rsaDetail;
    rsa.symmetric.algorithm = TPM2_ALG_NULL;
    rsa.scheme.scheme = TPM2_ALG_RSASSA;
    rsa.scheme.details.rsassa.hashAlg = HashFor(algorithm);
    rsa.keyBits = kRsaBits;
    rsa.exponent = kRsaExponent;
  } else {
    area.type = TPM2_ALG_ECC;
    TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = TPM2_ALG_ECDSA;
    ecc.scheme.details.ecdsa.hashAlg = HashFor(algorithm);
    ecc.curveID = type == KeyType::kEcP384 ? TPM2_ECC_NIST_P384 : TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
  }
  return result;
}

TPM2B_PUBLIC SealedSecretTemplate() {
  TPM2B_PUBLIC result = {};
  TPMT_PUBLIC& area = result.publicArea;
  area.type = TPM2_ALG_KEYEDHASH;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kSealedAttributes;
  area.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  return result;
}

TPM2B_PUBLIC StorageRootTemplate() {
  TPM2B_PUBLIC result = {};
  TPMT_PUBLIC& area = result.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kStorageAttributes;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  // 32 zero octets each, not absent: the unique part goes into the derivation of the key.
  area.unique.ecc.x.size = 32;
  area.unique.ecc.y.size = 32;
  return result;
}

bool IsStorageParent(const TPMT_PUBLIC& area) {
  const bool asymmetric = area.type == TPM2_ALG_ECC || area.type == TPM2_ALG_RSA;
  return asymmetric && (area.objectAttributes & kParentNeeds) == kParentNeeds &&
         (area.objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) == 0;
}

bool MatchesSealedSecret(const TPMT_PUBLIC& area) {
  return area.type == TPM2_ALG_KEYEDHASH && area.nameAlg == TPM2_ALG_SHA256 &&
         area.objectAttributes == kSealedAttributes && area.authPolicy.size == 0 &&
         area.parameters.keyedHashDetail.scheme.scheme == TPM2_ALG_NULL;
}

bool MatchesTemplate(const TPMT_PUBLIC& area, SignatureAlgorithm algorithm) {
  const TPMT_PUBLIC wanted = SigningKeyTemplate(algorithm).publicArea;
  if (area.type != wanted.type || area.nameAlg != wanted.nameAlg ||
      area.objectAttributes != wanted.objectAttributes || area.authPolicy.size != 0) {
    return false;
  }
  if (area.type == TPM2_ALG_RSA) {
    const TPMS_RSA_PARMS& have = area.parameters.rsaDetail;
    // Exponent 0 is how a TPM may write 65537 (Part 2 section 12.2.3.5).
    return have.keyBits == kRsaBits && (have.exponent == kRsaExponent || have.exponent == 0) &&
           have.scheme.scheme == TPM2_ALG_RSASSA &&
           have.scheme.details.rsassa.hashAlg == HashFor(algorithm);
  }
  const TPMS_ECC_PARMS& have = area.parameters.eccDetail;
  return have.curveID == wanted.parameters.eccDetail.curveID &&
         have.scheme.scheme == TPM2_ALG_ECDSA &&
         have.scheme.details.ecdsa.hashAlg == HashFor(algorithm);
}

TPMT_PUBLIC_PARMS ParametersOf(const TPM2B_PUBLIC& area) {
  TPMT_PUBLIC_PARMS parameters = {};
  parameters.type = area.publicArea.type;
  parameters.parameters = area.publicArea.parameters;
  return parameters;
}

absl::StatusOr<PublicKey> ToPublicKey(const TPMT_PUBLIC& area) {
  PublicKey key;
  if (area.type == TPM2_ALG_RSA) {
    key.type = KeyType::kRsa;
    key.n = std::string(WithoutLeadingZeros(Octets(area.unique.rsa.buffer, area.unique.rsa.size)));
    if (key.n.empty()) return MakeError(Reason::kHardwareError, "tpm gave an empty modulus");
    UINT32 exponent = area.parameters.rsaDetail.exponent;
    if (exponent == 0) exponent = kRsaExponent;
    for (; exponent != 0; exponent >>= 8) key.e.insert(key.e.begin(), static_cast<char>(exponent));
    return key;
  }
  if (area.type != TPM2_ALG_ECC) {
    return MakeError(Reason::kHardwareError, "tpm gave a key of another type");
  }
  switch (area.parameters.eccDetail.curveID) {
    case TPM2_ECC_NIST_P256:
      key.type = KeyType::kEcP256;
      break;
    case TPM2_ECC_NIST_P384:
      key.type = KeyType::kEcP384;
      break;
    default:
      return MakeError(Reason::kHardwareError, "tpm gave a key on another curve");
  }
  absl::StatusOr<std::string> x = Padded(area.unique.ecc.x, FieldSize(key.type));
  absl::StatusOr<std::string> y = Padded(area.unique.ecc.y, FieldSize(key.type));
  if (!x.ok()) return x.status();
  if (!y.ok()) return y.status();
  key.x = *std::move(x);
  key.y = *std::move(y);
  return key;
}

std::vector<KeyAttribute> AttributesOf(TPMA_OBJECT attributes) {
  const auto has = [attributes](TPMA_OBJECT bit) { return (attributes & bit) != 0; };
  return {
      {.name = "fixedtpm", .value = has(TPMA_OBJECT_FIXEDTPM)},
      {.name = "fixedparent", .value = has(TPMA_OBJECT_FIXEDPARENT)},
      {.name = "sensitivedataorigin", .value = has(TPMA_OBJECT_SENSITIVEDATAORIGIN)},
      {.name = "userwithauth", .value = has(TPMA_OBJECT_USERWITHAUTH)},
      {.name = "noda", .value = has(TPMA_OBJECT_NODA)},
      {.name = "sign", .value = has(TPMA_OBJECT_SIGN_ENCRYPT)},
      {.name = "decrypt", .value = has(TPMA_OBJECT_DECRYPT)},
      {.name = "restricted", .value = has(TPMA_OBJECT_RESTRICTED)},
  };
}

}  // namespace smartkey
