// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>

#include "hsm/key_types.h"

namespace smartkey {

// A key pair of OpenSSL's that stands in for hardware, in tests only. Thread-safe once made.
class SoftwareKey {
 public:
  // Ends the process if OpenSSL fails. RSA takes some tens of milliseconds.
  static SoftwareKey Generate(SignatureAlgorithm algorithm);

  SignatureAlgorithm algorithm() const { return algorithm_; }
  const PublicKey& public_key() const { return public_key_; }

  // In JOSE form, as KeyProvider::Sign.
  std::string Sign(absl::string_view message) const;

 private:
  SoftwareKey() = default;

  SignatureAlgorithm algorithm_ = SignatureAlgorithm::kEs256;
  PublicKey public_key_;
  std::shared_ptr<EVP_PKEY> key_;
};

}  // namespace smartkey
