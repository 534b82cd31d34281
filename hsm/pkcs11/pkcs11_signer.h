// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hsm/pkcs11/pkcs11_capabilities.h"
#include "hsm/pkcs11/pkcs11_login.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_token.h"

namespace smartkey {

// A private key in a token, to sign with.
struct Pkcs11PrivateKey {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  bool always_authenticate = false;  // CKA_ALWAYS_AUTHENTICATE
};

// Makes JOSE signatures with the mechanisms that one token has. `token` and `login` must outlive
// it. Not thread-safe.
class Pkcs11Signer {
 public:
  Pkcs11Signer(std::vector<Pkcs11Signing> signings, const Pkcs11Token& token, Pkcs11Login& login)
      : signings_(std::move(signings)), token_(token), login_(login) {}

  // The best first.
  std::vector<SignatureAlgorithm> algorithms() const;
  bool Supports(SignatureAlgorithm algorithm) const { return Find(algorithm) != nullptr; }

  // Errors: kAlgorithmUnsupported, kSignatureWrong (what the token gave is none), those of
  // Pkcs11Login::AuthenticateUse, and what the token answers.
  absl::StatusOr<std::string> Sign(Pkcs11Session& session, const Pkcs11PrivateKey& key,
                                   SignatureAlgorithm algorithm, absl::string_view message);

 private:
  const Pkcs11Signing* Find(SignatureAlgorithm algorithm) const;

  const std::vector<Pkcs11Signing> signings_;
  const Pkcs11Token& token_;
  Pkcs11Login& login_;
};

}  // namespace smartkey
