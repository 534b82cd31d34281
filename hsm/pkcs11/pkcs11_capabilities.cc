// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_capabilities.h"

#include <openssl/evp.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/log.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

struct SigningRow {
  SignatureAlgorithm algorithm;
  CK_MECHANISM_TYPE generates;
  CK_MECHANISM_TYPE signs_digest;
  CK_MECHANISM_TYPE hashes_and_signs;
  CK_ULONG key_bits;
};

// The order of preference is that of hsm/tpm: P-384 and SHA-384 first, as SMART asks servers for.
constexpr SigningRow kByPreference[] = {
    {SignatureAlgorithm::kEs384, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKM_ECDSA_SHA384, 384},
    {SignatureAlgorithm::kRs384, CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS, CKM_SHA384_RSA_PKCS,
     2048},
    {SignatureAlgorithm::kEs256, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKM_ECDSA_SHA256, 256},
    {SignatureAlgorithm::kRs256, CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS,
     2048},
};

// RFC 8017 section 9.2, note 1.
constexpr absl::string_view kSha256Info(
    "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", 19);
constexpr absl::string_view kSha384Info(
    "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30", 19);

bool UsesSha384(SignatureAlgorithm algorithm) {
  return algorithm == SignatureAlgorithm::kEs384 || algorithm == SignatureAlgorithm::kRs384;
}

std::string Digest(SignatureAlgorithm algorithm, absl::string_view message) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const EVP_MD* digest = UsesSha384(algorithm) ? EVP_sha384() : EVP_sha256();
  // Fails only where OpenSSL lacks the digest: then nothing of ours could work.
  if (EVP_Digest(message.data(), message.size(), out, &size, digest, nullptr) != 1) std::abort();
  return std::string(reinterpret_cast<const char*>(out), size);
}

// True if the token has the mechanism for this use and this size of key. Sizes are in bits; some
// tokens leave them zero.
absl::StatusOr<bool> Has(CK_FUNCTION_LIST& functions, CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism,
                         CK_FLAGS use, CK_ULONG key_bits) {
  CK_MECHANISM_INFO info = {};
  const CK_RV rv = functions.C_GetMechanismInfo(slot, mechanism, &info);
  // CKR_MECHANISM_INVALID, and what tokens say instead.
  if (rv != CKR_OK && RowForPkcs11Code(rv).reason == Reason::kAlgorithmUnsupported) return false;
  if (rv != CKR_OK) return Pkcs11Status(rv, "read mechanism information");
  return (info.flags & use) != 0 && info.ulMinKeySize <= key_bits &&
         (info.ulMaxKeySize == 0 || key_bits <= info.ulMaxKeySize);
}

}  // namespace

absl::StatusOr<std::vector<Pkcs11Signing>> ProbeSignings(CK_FUNCTION_LIST& functions,
                                                         CK_SLOT_ID slot) {
  std::vector<Pkcs11Signing> signings;
  for (const SigningRow& row : kByPreference) {
    absl::StatusOr<bool> has =
        Has(functions, slot, row.generates, CKF_GENERATE_KEY_PAIR, row.key_bits);
    if (!has.ok()) return has.status();
    if (!*has) continue;
    for (const CK_MECHANISM_TYPE mechanism : {row.signs_digest, row.hashes_and_signs}) {
      has = Has(functions, slot, mechanism, CKF_SIGN, row.key_bits);
      if (!has.ok()) return has.status();
      if (!*has) continue;
      signings.push_back({.algorithm = row.algorithm,
                          .mechanism = mechanism,
                          .token_hashes = mechanism == row.hashes_and_signs});
      break;
    }
  }
  return signings;
}

std::string SignInput(const Pkcs11Signing& signing, absl::string_view message) {
  if (signing.token_hashes) return std::string(message);
  const std::string digest = Digest(signing.algorithm, message);
  if (KeyTypeFor(signing.algorithm) != KeyType::kRsa) return digest;
  return absl::StrCat(UsesSha384(signing.algorithm) ? kSha384Info : kSha256Info, digest);
}

std::string HardwareName(const Pkcs11Token& token) {
  const Pkcs11TokenIdentity& identity = token.identity;
  return absl::StrCat(Printable(identity.manufacturer), identity.manufacturer.empty() ? "" : ", ",
                      Printable(identity.model), " (PKCS#11)");
}

}  // namespace smartkey
