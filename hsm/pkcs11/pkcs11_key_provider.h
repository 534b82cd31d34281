// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "hsm/key_provider.h"
#include "hsm/pkcs11/pkcs11_key_finder.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_login.h"
#include "hsm/pkcs11/pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_session_pool.h"
#include "hsm/pkcs11/pkcs11_signer.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "hsm/pkcs11/pkcs11_uri.h"

namespace smartkey {

// Keys in a PKCS#11 token, v2.40. The token stores them: a private and, where it can, a public key
// object, both with the label given and the key's thumbprint as CKA_ID. A reference says the id and
// in which token the key was made; it is looked for by id in the configured token whatever that is
// called now, since partitions are cloned and tokens renamed, and used only after its public key
// has been compared.
//
// Which keys are ours: those whose label begins with "smartkeyd:<instance>:". Others are counted if
// their label begins with "smartkeyd:", and never destroyed.
//
// What went wrong in the token is mended here where new sessions and a new login mend it, each
// once, in the same call. What needs the module to start anew is reported (kHardwareDegraded,
// kHardwareAbsent), and Open does that.
//
// Not thread-safe, as KeyProvider; Interrupt is the module's.
class Pkcs11KeyProvider : public KeyProvider {
 public:
  struct Options {
    // Which token: RFC 7512, "pkcs11:token=clinic;serial=0b1c". May name the PIN file (pin-source).
    std::string uri;
    std::string pin_file;  // empty: the uri's, or none
    int max_sessions = 8;  // the token's own limit holds as well
    // Refuse keys that are not LOCAL, or may decrypt, unwrap, derive or sign with recovery.
    bool strict_attributes = true;
    // Whose keys: part of every label.
    std::string instance_id;
    // Where it is remembered that the PIN was rejected; see RejectedPinRecord. In the daemon's
    // state directory. Empty: forgotten with this object.
    std::string rejected_pin_file;
  };

  Pkcs11KeyProvider(Options options, std::unique_ptr<Pkcs11Module> module);
  ~Pkcs11KeyProvider() override;

  // Errors: kConfigInvalid (the uri; or it fits several tokens), those of Pkcs11Module::Load,
  // FindToken and Pkcs11Login::LogIn.
  absl::StatusOr<ProviderCapabilities> Open() override;
  // Errors: kInvalidArgument (`label` is not one of this instance's), those of Pkcs11KeyCreation.
  absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                       absl::string_view label) override;
  // Errors: kKeyGone, kKeyDamaged, kKeyUnavailable (made by another provider or a newer release).
  absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) override;
  absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                   SignatureAlgorithm algorithm,
                                   absl::string_view message) override;
  // Errors: kKeyUnavailable, also for a key that bears another instance's label.
  absl::Status DestroyKey(const KeyReference& reference) override;
  absl::StatusOr<KeyInventory> ListKeys() override;
  void Interrupt() override;

 private:
  // Everything that ends with the connection to one token.
  struct Connection;
  struct KnownKey {
    Pkcs11PrivateKey key;
    PublicKey public_key;
    absl::optional<SignatureAlgorithm> algorithm;
  };

  absl::StatusOr<ProviderCapabilities> OpenToken();
  absl::Status Connect();
  void Close();
  // Runs `attempt` in a session, and again after each remedy for what went wrong.
  absl::Status WithSession(absl::FunctionRef<absl::Status(Pkcs11Session&)> attempt);
  void Mend(Pkcs11Recovery recovery);

  absl::StatusOr<Pkcs11KeyReference> Read(const KeyReference& reference) const;
  // The key, proven to be `expected` since its handle was got.
  absl::StatusOr<KnownKey> FindKey(Pkcs11Session& session, const KeyReference& reference,
                                   const PublicKey& expected);
  void Remember(const std::string& blob, const KnownKey& key);

  const Options options_;
  const std::unique_ptr<Pkcs11Module> module_;

  Pkcs11Uri uri_;                           // of the last Open
  std::unique_ptr<Pkcs11Login> login_;      // from the first Open on: knows which PIN was accepted
  CK_FUNCTION_LIST* functions_ = nullptr;   // null: not open
  std::unique_ptr<Connection> connection_;  // null: not open, or lost
  std::map<std::string, KnownKey> known_keys_;  // by blob; handles of this connection
};

// "p11-kit 0.24.1": what this was built with; the library has no call that says what it is.
std::string Pkcs11LibraryVersion();

}  // namespace smartkey
