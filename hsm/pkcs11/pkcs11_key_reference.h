// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "hsm/key_types.h"
#include "hsm/pkcs11/pkcs11_uri.h"

namespace smartkey {

// What KeyReference::blob holds for PKCS#11: where the key was made, and how to find its objects
// again. Nothing in here is secret.
//
// Format, version 1, integers big-endian:
//   u8  version (1)
//   u8  algorithm: 1 ES256, 2 ES384, 3 RS256, 4 RS384; 0: an RSA key whose hash is not known,
//       because it was found in the token and not made by this call
//   u16 + octets  token serial
//   u16 + octets  token label
//   u16 + octets  token manufacturer
//   u16 + octets  token model
//   u16 + octets  CKA_ID, 1 to 255 octets
//   u16 + octets  CKA_LABEL
// and nothing after it. A format never changes; a new one is a new version beside the old.
struct Pkcs11KeyReference {
  absl::optional<SignatureAlgorithm> algorithm;
  Pkcs11TokenIdentity token;
  std::string id;
  std::string label;

  // kRsa where the algorithm is not known.
  KeyType key_type() const {
    return algorithm.has_value() ? KeyTypeFor(*algorithm) : KeyType::kRsa;
  }
};

// Errors: kInternal if a part is longer than its format allows, or the id is empty.
absl::StatusOr<std::string> WritePkcs11KeyReference(const Pkcs11KeyReference& reference);

// Reads any bytes. What it accepts, WritePkcs11KeyReference writes back to the same bytes.
// Errors: kKeyDamaged (not a reference of ours), kKeyUnavailable (written by a newer release).
absl::StatusOr<Pkcs11KeyReference> ParsePkcs11KeyReference(absl::string_view bytes);

}  // namespace smartkey
