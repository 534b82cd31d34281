// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hsm/key_types.h"
#include "hsm/pkcs11/pkcs11_token.h"

namespace smartkey {

// How a token makes signatures of one algorithm.
struct Pkcs11Signing {
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  CK_MECHANISM_TYPE mechanism = 0;
  bool token_hashes = false;  // else we do, and the token signs the digest
};

// The algorithms for which the token has a mechanism that signs and one that makes keys, of the
// size that is needed; the best first. Where it has both, the mechanism that takes our digest is
// used: it is the older and better tried one, and long messages need not travel. Errors: what the
// token answers, other than that it has no such mechanism.
absl::StatusOr<std::vector<Pkcs11Signing>> ProbeSignings(CK_FUNCTION_LIST& functions,
                                                         CK_SLOT_ID slot);

// What C_Sign gets for `message`: the message, its digest, or for RSA the DigestInfo around it (RFC
// 8017 section 9.2). Pure function.
std::string SignInput(const Pkcs11Signing& signing, absl::string_view message);

// "Maker, model (PKCS#11)".
std::string HardwareName(const Pkcs11Token& token);

}  // namespace smartkey
