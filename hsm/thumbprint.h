// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "hsm/key_types.h"

namespace smartkey {

// RFC 7638 section 3: SHA-256 over the required members of the key's JWK, in lexicographic order.
// The 32 octets themselves: in base64url they are the kid, and a PKCS#11 token keeps them as CKA_ID.
// Pure function.
std::string Thumbprint(const PublicKey& key);

}  // namespace smartkey
