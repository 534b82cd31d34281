// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "hsm/key_types.h"

namespace smartkey {

// Public keys as tokens tell them. Any octets may come in. Pure functions.
// Errors of all: kHardwareError.

// CKA_EC_PARAMS of a curve: the DER of its object identifier (PKCS#11 v2.40 Current Mechanisms,
// section 2.3.3). Empty for RSA.
absl::string_view EcParameters(KeyType type);

// Absent for curves that are not ours.
absl::optional<KeyType> KeyTypeOfEcParameters(absl::string_view parameters);

// CKA_EC_POINT: by the standard an uncompressed point (SEC 1 section 2.3.3) in a DER OCTET STRING;
// some tokens leave the wrapping out. Exactly one of the two, and nothing after it.
absl::StatusOr<PublicKey> EcPublicKey(KeyType type, absl::string_view ec_point);

// CKA_MODULUS and CKA_PUBLIC_EXPONENT, which may begin with zero octets. The modulus must have 2048
// bits, the size of all keys made here.
absl::StatusOr<PublicKey> RsaPublicKey(absl::string_view modulus, absl::string_view exponent);

// CKA_PUBLIC_KEY_INFO: DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
absl::StatusOr<PublicKey> PublicKeyFromInfo(KeyType type, absl::string_view der);

}  // namespace smartkey
