// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/secret.h"
#include "hsm/key_service.h"
#include "nlohmann/json.hpp"

namespace smartkey {

// A hardware key with what a JWS made with it says of it.
struct SigningKey {
  KeyReference reference;
  PublicKey public_key;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  std::string kid;
};

// Makes compact JWSs (RFC 7515 section 7.1) with hardware keys. `alg` and `kid` come from the key: no
// caller sets them. Each signature is verified with the public key before it leaves (a faulty RSA
// signature gives the key away). Thread-safe.
class JwtSigner {
 public:
  explicit JwtSigner(KeyService& keys) : keys_(keys) {}

  // `typ` goes into the header. `done` as KeyService's. Errors: KeyService's, and kSignatureWrong for a
  // signature that does not verify.
  KeyService::OperationId Sign(const SigningKey& key, const std::string& typ,
                               const nlohmann::json& claims, KeyService::CallerKey caller,
                               BootTime deadline,
                               absl::AnyInvocable<void(absl::StatusOr<Secret>)> done) const;

  bool Cancel(KeyService::OperationId id) const { return keys_.Cancel(id); }

 private:
  KeyService& keys_;
};

}  // namespace smartkey
