// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "hsm/key_types.h"
#include "hsm/pkcs11/pkcs11_session.h"

namespace smartkey {

// What our keys in a token look like (PKCS#11 v2.40 sections 4.7 to 4.9), and how a key is judged
// that the token has made. Pure functions, but for ReadKeyAttributes.

// Where a token does not take the template that we would like.
struct TemplateConcession {
  // Attributes that we would set to false and leave to the token's default instead. What it then
  // says of the key is read back all the same.
  std::vector<CK_ATTRIBUTE_TYPE> left_out;
  // The public half is not stored: for tokens that keep private keys only.
  bool public_half_in_session = false;
};

// What to try, one after the other, while the token answers something for which
// IsTemplateRefusal is true. The first concedes nothing.
std::vector<TemplateConcession> TemplateConcessions();

// True if a token may answer so to attributes that it does not take. tpm2-pkcs11 1.9 says
// CKR_GENERAL_ERROR to CKA_DECRYPT=false.
bool IsTemplateRefusal(CK_RV code);

struct KeyPairTemplate {
  CK_MECHANISM_TYPE mechanism = 0;  // the one that generates
  Pkcs11Template public_half;
  Pkcs11Template private_half;
};

// A key pair that only signs, whose private half never leaves the token. `id` is its CKA_ID.
KeyPairTemplate SigningKeyPairTemplate(KeyType type, absl::string_view id, absl::string_view label,
                                       const TemplateConcession& concession);

// What the token itself says of a private key: all attributes that matter, without those that it
// does not know. Names as in the standard: "CKA_SENSITIVE".
absl::StatusOr<std::vector<KeyAttribute>> ReadKeyAttributes(Pkcs11Session& session,
                                                            CK_OBJECT_HANDLE private_key);

// Errors: kKeyNotProtected, naming the attributes that are not as they must be. Required of every
// token: SENSITIVE, not EXTRACTABLE, ALWAYS_SENSITIVE, NEVER_EXTRACTABLE, SIGN, TOKEN, PRIVATE; an
// attribute that the token does not tell is not as it must be. `strict` asks for more: LOCAL, and
// none of DECRYPT, UNWRAP, SIGN_RECOVER and DERIVE, as far as the token knows them.
absl::Status CheckKeyAttributes(absl::Span<const KeyAttribute> attributes, bool strict);

}  // namespace smartkey
