// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hsm/key_types.h"
#include "hsm/pkcs11/pkcs11_key_finder.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_signer.h"

namespace smartkey {

// The making of one key, from the template to the key that has shown that it is protected, can be
// found and signs. Run may be called again, in another session, after it failed: it then takes out
// first what the earlier run may have left in the token.
//
// Not thread-safe.
class Pkcs11KeyCreation {
 public:
  struct Wish {
    SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
    std::string label;
    bool strict_attributes = true;
  };

  explicit Pkcs11KeyCreation(Wish wish) : wish_(std::move(wish)) {}

  // `finder` and its signer are those of the token that `session` is with.
  // Errors: kKeyNotProtected, kHardwareFull, kAlgorithmUnsupported, kSignatureWrong (it makes
  // signatures that are none), kHardwareError, and what else the token answers. After an error the
  // key is not in the token any more, unless the token went away.
  absl::StatusOr<CreatedKey> Run(Pkcs11Session& session, Pkcs11KeyFinder& finder);

 private:
  absl::StatusOr<Pkcs11Session::KeyPair> Generate(Pkcs11Session& session, Pkcs11KeyFinder& finder);
  absl::StatusOr<CreatedKey> Finish(Pkcs11Session& session, Pkcs11KeyFinder& finder,
                                    const Pkcs11Session::KeyPair& pair);
  absl::StatusOr<PublicKey> ReadPublicKey(Pkcs11Session& session,
                                          const Pkcs11Session::KeyPair& pair);
  // Gives both halves the id that they are found by, and returns the one they have then.
  absl::StatusOr<std::string> SetId(Pkcs11Session& session, const Pkcs11Session::KeyPair& pair,
                                    const std::string& thumbprint);
  absl::Status ProveThatItSigns(Pkcs11Session& session, Pkcs11Signer& signer,
                                const Pkcs11PrivateKey& key, const PublicKey& public_key);
  absl::Status DestroyLeftovers(Pkcs11Session& session, Pkcs11KeyFinder& finder);

  const Wish wish_;
  std::string first_id_;                // of the pair as generated
  bool public_half_is_stored_ = true;   // else it lives as long as the session
  std::vector<std::string> leftovers_;  // ids under which a failed run may have left objects
};

}  // namespace smartkey
