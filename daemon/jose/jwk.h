// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "hsm/key_types.h"
#include "nlohmann/json.hpp"

namespace smartkey {

// RFC 7638 section 3: SHA-256 over the required members in lexicographic order, base64url. Used as kid.
std::string JwkThumbprint(const PublicKey& key);

// The public JWK that a server is given: kty and its parameters, kid (the thumbprint), use "sig", alg.
nlohmann::json ToJwk(const PublicKey& key, SignatureAlgorithm algorithm);

// Reads the key material of a public JWK; kid, use and alg are not looked at. For comparing by material
// what a server sent back. Errors: InvalidArgument for an unknown kty or curve, a coordinate of the wrong
// length, or a private member ("d") being there.
absl::StatusOr<PublicKey> ParseJwk(const nlohmann::json& jwk);

}  // namespace smartkey
