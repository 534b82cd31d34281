// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace smartkey {

// JWS algorithms (RFC 7518 section 3.1) that a key provider may offer.
enum class SignatureAlgorithm { kEs256, kEs384, kRs256, kRs384 };

// "ES256", "ES384", "RS256", "RS384".
absl::string_view AlgorithmName(SignatureAlgorithm algorithm);
absl::optional<SignatureAlgorithm> AlgorithmFromName(absl::string_view name);

enum class KeyType { kEcP256, kEcP384, kRsa };

// The type of key that `algorithm` signs with. RSA keys are made with 2048 bits.
KeyType KeyTypeFor(SignatureAlgorithm algorithm);

// Octets of one coordinate, and of r and s: 32 or 48; 0 for RSA.
size_t FieldSize(KeyType type);

// A public key as plain integers, big-endian. EC: x and y, exactly as long as the field (32 or 48
// octets; RFC 7518 section 6.2.1.2), n and e empty. RSA: n and e without leading zero octets
// (section 6.3.1), x and y empty.
struct PublicKey {
  KeyType type = KeyType::kEcP256;
  std::string x, y;
  std::string n, e;

  friend bool operator==(const PublicKey& a, const PublicKey& b) {
    return a.type == b.type && a.x == b.x && a.y == b.y && a.n == b.n && a.e == b.e;
  }
  friend bool operator!=(const PublicKey& a, const PublicKey& b) { return !(a == b); }
};

// True if `signature` (JOSE form: ECDSA as r || s, RSASSA-PKCS1-v1_5 as is) is `key`'s over
// `message` under `algorithm`. Checked with OpenSSL, so the provider's own library cannot fool
// itself.
bool VerifySignature(const PublicKey& key, SignatureAlgorithm algorithm, absl::string_view message,
                     absl::string_view signature);

// Where a key provider finds a key again. `blob` is the provider's own, starts with a format
// version, may be written to disk, and holds no private key in the clear: for a TPM the wrapped
// key, for PKCS#11 the object's id.
struct KeyReference {
  std::string provider;  // "tpm" or "pkcs11"
  std::string blob;

  friend bool operator==(const KeyReference& a, const KeyReference& b) {
    return a.provider == b.provider && a.blob == b.blob;
  }
};

// True if the hardware stores nothing of the key, so that it ends with the last copy of `key.blob`
// whether the hardware answers or not: for a TPM.
bool EndsWithItsReference(const KeyReference& key);

// What the hardware itself says of a key, read back after it was made. Shown to people.
struct KeyAttribute {
  std::string name;  // as the hardware's specification spells it: "fixedtpm", "CKA_SENSITIVE"
  bool value = false;
};

struct CreatedKey {
  KeyReference reference;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  PublicKey public_key;
  std::vector<KeyAttribute> attributes;
  std::string public_area;  // TPM: the marshalled TPM2B_PUBLIC; other hardware: empty
};

}  // namespace smartkey
