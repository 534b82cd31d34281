// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "hsm/key_types.h"
#include "hsm/parent_provisioner.h"
#include "hsm/secret_sealer.h"

namespace smartkey {

struct ProviderCapabilities {
  std::string provider;  // "tpm" or "pkcs11"
  std::string hardware;  // maker and model, for people: "IFX SLB9670 (TPM 2.0)"
  std::vector<SignatureAlgorithm> algorithms;  // what was probed to work, the best first
  bool has_resource_manager = false;           // TPM: others may use the chip beside us
  std::string detail;  // more for the administrator: firmware, TCTI or token, parent key. No PIN.
};

// What the hardware says of itself now.
struct HardwareCondition {
  // The TPM's protection against guessing (TPM 2.0 Part 1 section 19.11); absent for others.
  struct Lockout {
    uint32_t failures = 0;
    uint32_t limit = 0;
  };
  absl::optional<Lockout> lockout;
};

struct ListedKey {
  KeyReference reference;
  std::string label;
  // What the hardware knows the key by, octets; of a key made here its Thumbprint(). Never empty.
  std::string id;
};

// The keys that the hardware itself stores.
struct KeyInventory {
  std::vector<ListedKey> keys;  // of this instance; those of its records and strays alike
  int of_other_instances = 0;   // of other smartkeyds in the same token: not ours to touch
};

// The hardware behind the keys. A key made here never leaves it: nothing exports a private key, and
// `Sign` hashes the message itself, so that nobody can have an arbitrary digest signed.
//
// Not thread-safe but for Interrupt: one thread, the KeyWorker's, makes every call. Calls block,
// for hundreds of milliseconds on real hardware and up to minutes for an RSA key.
//
// Errors of every call, as Reason (base/error.h): kHardwareAbsent (no device), kHardwareDegraded
// (it answers, but not as it should; opening anew may help), kTpmLockout, and for a key
// kKeyLostTpmCleared, kKeyLostOtherMachine, kKeyGone. No call retries an authorization failure by
// itself.
class KeyProvider {
 public:
  virtual ~KeyProvider() = default;

  // Connects to the hardware and probes it. May be called again after a failure, or to recover: it
  // drops every handle and starts over. Other calls before a successful Open fail with
  // kHardwareAbsent.
  virtual absl::StatusOr<ProviderCapabilities> Open() = 0;

  // Makes a key that can only sign, only with `algorithm`, and cannot be taken out. `label` names
  // it where the hardware keeps names ("smartkeyd:<instance>:<registration>:<generation>"). Errors:
  // kAlgorithmUnsupported.
  virtual absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                               absl::string_view label) = 0;

  // Checks that `reference` can be used now and is the key `expected`. Loads nothing that stays.
  virtual absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) = 0;

  // Signs `message` (any length; hashed in here with the algorithm's own hash), in JOSE form: ECDSA
  // as r || s, each padded to the field's length (RFC 7518 section 3.4). Refuses a key whose public
  // half is not `expected`, so that a handle used again never signs with somebody else's key.
  // Whoever sends the signature out verifies it first (JwtSigner does).
  virtual absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                           SignatureAlgorithm algorithm,
                                           absl::string_view message) = 0;

  // Makes the key unusable for ever, as far as this hardware can: a PKCS#11 object is deleted; a
  // TPM keeps nothing of a wrapped key, so forgetting `reference.blob` is what ends it. Absent is
  // success; kKeyUnavailable for another provider's key, or another token's, which is where it was.
  virtual absl::Status DestroyKey(const KeyReference& reference) = 0;

  // Asks the hardware anew.
  virtual absl::StatusOr<HardwareCondition> Inspect() { return HardwareCondition(); }

  // Empty where the hardware stores no keys (TPM).
  virtual absl::StatusOr<KeyInventory> ListKeys() = 0;

  // How often, by itself and within a call, it had to meet the hardware anew: after a reset that
  // took what was loaded, or with a new session. Whoever keeps track of what this hardware has
  // proved starts over when it changes (SelfCheckingKeyProvider does).
  virtual int reloads() const { return 0; }

  // Makes a call that hangs in another thread return, where the hardware's driver allows that (a
  // module in a process of its own is killed). The call then fails, and Open starts over. Does
  // nothing by default. The one method that any thread may call at any time.
  virtual void Interrupt() {}

  // What only some hardware can do; null where it cannot. Owned by this.
  virtual SecretSealer* secret_sealer() { return nullptr; }
  virtual ParentProvisioner* parent_provisioner() { return nullptr; }
};

}  // namespace smartkey
