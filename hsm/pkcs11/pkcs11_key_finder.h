// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "hsm/key_provider.h"
#include "hsm/key_types.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_signer.h"
#include "hsm/pkcs11/pkcs11_token.h"

namespace smartkey {

// Finds our keys among the objects of a token, and takes them out. A handle is never trusted for
// what it once was: it comes with proof of which key it is.
//
// `token` and `signer` must outlive it. Not thread-safe. Errors of all calls beside those named:
// what the token answers.
class Pkcs11KeyFinder {
 public:
  // `instance_id`: whose keys are ours; see LabelPrefix.
  Pkcs11KeyFinder(std::string instance_id, const Pkcs11Token& token, Pkcs11Signer& signer);

  // What the labels of our keys begin with: "smartkeyd:<instance>:".
  const std::string& label_prefix() const { return label_prefix_; }
  const Pkcs11Token& token() const { return token_; }
  Pkcs11Signer& signer() const { return signer_; }

  // The private key that has the reference's CKA_ID and belongs to `expected`. Which public key it
  // belongs to is told by the object itself, else, if no other has this id, by the public key
  // object of that id; where the token tells neither, by a signature that OpenSSL verifies. Errors:
  // kKeyGone (no object of this id), kKeyUnavailable (nor is it the token it was made in),
  // kKeyDamaged (there is, with another public key).
  absl::StatusOr<Pkcs11PrivateKey> FindPrivateKey(Pkcs11Session& session,
                                                  const Pkcs11KeyReference& reference,
                                                  const PublicKey& expected);

  // Destroys the key's objects as DestroyObjects does. That there are none is success in the token
  // it was made in. Errors: also kKeyUnavailable (there are none, and it was made in another).
  absl::Status DestroyKey(Pkcs11Session& session, const Pkcs11KeyReference& reference);

  // Destroys all objects of this CKA_ID whose label is ours: first private, then public halves;
  // returns whether there were any.
  // Errors: kKeyUnavailable (there is a private key, but it bears no label of ours).
  absl::StatusOr<bool> DestroyObjects(Pkcs11Session& session, absl::string_view id);

  // A key of which only the public half is left, by a destruction that was cut short, is one of
  // them: DestroyKey takes it out.
  absl::StatusOr<KeyInventory> ListKeys(Pkcs11Session& session);

  // The public key that an object, private or public, tells; absent if it tells none.
  // Errors: kHardwareError (it cannot be read as one).
  static absl::StatusOr<absl::optional<PublicKey>> ReadPublicKey(Pkcs11Session& session,
                                                                 CK_OBJECT_HANDLE object,
                                                                 KeyType type);

 private:
  enum class Verdict { kIsExpected, kIsAnother, kCannotTell };

  absl::StatusOr<Verdict> JudgeByPublicObjects(Pkcs11Session& session,
                                               const Pkcs11KeyReference& reference,
                                               const PublicKey& expected);
  absl::StatusOr<Verdict> JudgeBySignature(Pkcs11Session& session, const Pkcs11PrivateKey& key,
                                           const Pkcs11KeyReference& reference,
                                           const PublicKey& expected);
  absl::StatusOr<Verdict> Judge(Pkcs11Session& session, const Pkcs11PrivateKey& key, bool only_one,
                                const Pkcs11KeyReference& reference, const PublicKey& expected);
  // Adds the public halves of ours that have no private one.
  absl::Status ListPublicRemains(Pkcs11Session& session, KeyInventory& inventory);
  absl::Status GoneReason(const Pkcs11KeyReference& reference) const;
  // Absent for keys that no algorithm of ours signs with.
  absl::StatusOr<absl::optional<ListedKey>> ToListedKey(Pkcs11Session& session,
                                                        CK_OBJECT_HANDLE object,
                                                        const std::string& label);

  const std::string label_prefix_;
  const Pkcs11Token& token_;
  Pkcs11Signer& signer_;
};

}  // namespace smartkey
