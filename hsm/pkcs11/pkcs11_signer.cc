// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_signer.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "hsm/ecdsa_signature.h"

namespace smartkey {

std::vector<SignatureAlgorithm> Pkcs11Signer::algorithms() const {
  std::vector<SignatureAlgorithm> algorithms;
  for (const Pkcs11Signing& signing : signings_) algorithms.push_back(signing.algorithm);
  return algorithms;
}

const Pkcs11Signing* Pkcs11Signer::Find(SignatureAlgorithm algorithm) const {
  for (const Pkcs11Signing& signing : signings_) {
    if (signing.algorithm == algorithm) return &signing;
  }
  return nullptr;
}

absl::StatusOr<std::string> Pkcs11Signer::Sign(Pkcs11Session& session, const Pkcs11PrivateKey& key,
                                               SignatureAlgorithm algorithm,
                                               absl::string_view message) {
  const Pkcs11Signing* signing = Find(algorithm);
  if (signing == nullptr) {
    return MakeError(Reason::kAlgorithmUnsupported,
                     absl::StrCat("the token does not sign with ", AlgorithmName(algorithm)));
  }
  absl::StatusOr<std::string> signature =
      session.Sign(signing->mechanism, key.handle, SignInput(*signing, message), [&] {
        return key.always_authenticate ? login_.AuthenticateUse(session, token_) : absl::OkStatus();
      });
  if (!signature.ok() || KeyTypeFor(algorithm) == KeyType::kRsa) return signature;
  // PKCS#11 v2.40 Current Mechanisms, section 2.3.1: r and s, each as long as the other.
  if (signature->size() % 2 != 0) {
    return MakeError(Reason::kSignatureWrong, "the token's ecdsa signature has an odd length");
  }
  const absl::string_view octets = *signature;
  return JoseFromIntegers(octets.substr(0, octets.size() / 2), octets.substr(octets.size() / 2),
                          FieldSize(KeyTypeFor(algorithm)));
}

}  // namespace smartkey
