// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "hsm/key_provider.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/saved_objects.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {

// Keys in a TPM 2.0. A key is wrapped by a storage key of the TPM and lives in its reference's
// blob; the TPM stores nothing. The parent is the machine's storage root key at 0x81000001 where
// there is one that fits, otherwise the TCG's standard ECC one, made in the TPM when needed;
// nothing is ever made persistent.
//
// Which parent: the blob holds its Name (a hash of its public area), and a key is loaded only under
// a parent of that Name, wherever it is found. So a storage root key that appears, goes or is
// replaced later takes no key with it, and nobody can put another one in between.
//
// A key that no parent fits is lost: kKeyLostOtherMachine if this is not the TPM that made it, else
// kKeyLostTpmCleared. They are told apart by the Name of a primary key of the endorsement
// hierarchy, which outlives TPM2_Clear, and where that cannot be had, by `machine_id`. Both are
// kept as hashes.
//
// In the TPM at once, at most: the key used last, a parent, and the object of a running command.
// The key used last stays loaded; others that have signed are loaded again from their saved
// contexts, which takes one quick command and no parent. A TPM reset in between is noticed and the
// key loaded from its blob. No session is ever started: our keys and parents have an empty
// authorization, so one would protect nothing (an unsalted, unbound HMAC session has an empty key;
// TPM 2.0 Part 1 section 19.6.8).
//
// Not thread-safe, as KeyProvider. The destructor flushes what is loaded.
class TpmKeyProvider : public KeyProvider {
 public:
  struct Options {
    // As tpm2-tss takes it: "device:/dev/tpmrm0", "swtpm:path=/run/x.sock",
    // "tabrmd:bus_type=system". Without a resource manager in between ("swtpm:",
    // "device:/dev/tpm0"), this provider is the TPM's only user, and Open flushes whatever is
    // loaded.
    std::string tcti;
    // /etc/machine-id or the like; may be empty.
    std::string machine_id;
  };

  // The libraries under this write their own errors to stderr, in their own form. Everything they
  // say is also in a status. Call once, before the first thread: it sets an environment variable
  // (TSS2_LOG) that they read, unless it is set.
  static void QuietLibraryLog();

  explicit TpmKeyProvider(Options options);
  ~TpmKeyProvider() override;

  // Errors: kTpmOwnerAuthRequired (no usable storage root key, and making one needs authorization).
  absl::StatusOr<ProviderCapabilities> Open() override;
  absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                       absl::string_view label) override;
  absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) override;
  absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                   SignatureAlgorithm algorithm,
                                   absl::string_view message) override;
  absl::Status DestroyKey(const KeyReference& reference) override;
  absl::StatusOr<KeyInventory> ListKeys() override;
  int reloads() const override { return reloads_; }

 private:
  struct Parent {
    EsysObject object;
    std::string name;
    TpmParentKind kind = TpmParentKind::kTransientEccV1;
  };
  struct LoadedKey {
    std::string blob;
    PublicKey public_key;
    SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
    EsysObject object;
  };

  struct CreatedObject {
    TPM2B_PUBLIC public_area = {};
    TPM2B_PRIVATE private_area = {};
  };

  void Close();
  // The TPM was reset: nothing we had in it is there, and its handles may be somebody else's by
  // now.
  void ForgetLoaded();
  // Runs `attempt`; if what it needed turns out not to be loaded, forgets all that is and runs it
  // again.
  absl::Status WithReload(absl::FunctionRef<absl::Status()> attempt);
  // The status for a code, and a note for WithReload of what may help.
  absl::Status Failure(TSS2_RC rc, absl::string_view operation);

  absl::StatusOr<ProviderCapabilities> Probe();

  absl::StatusOr<Parent> LoadParentForNewKeys();
  // The parent that `blob` names, wherever it is; LostReason if nowhere.
  absl::StatusOr<Parent> LoadParentNamed(const TpmKeyBlob& blob);
  absl::StatusOr<absl::optional<Parent>> FindPersistentParent();
  absl::StatusOr<Parent> LoadTransientParent();
  absl::StatusOr<Parent> CreateStoragePrimary(ESYS_TR hierarchy);
  absl::StatusOr<bool> IsUsableParent(const EsysObject& object);
  absl::Status LostReason(const TpmKeyBlob& blob);

  // TPM2_Create; `created` may be null.
  TSS2_RC CreateObject(ESYS_TR parent, const TPM2B_SENSITIVE_CREATE& sensitive,
                       const TPM2B_PUBLIC& wanted, CreatedObject* created);
  // From its saved context, or else under its parent.
  absl::StatusOr<LoadedKey> Load(const KeyReference& reference, const PublicKey& expected);
  absl::StatusOr<EsysObject> LoadUnderParent(const TpmKeyBlob& blob);
  absl::StatusOr<CreatedKey> CreateUnder(const Parent& parent, SignatureAlgorithm algorithm);
  absl::StatusOr<std::string> SignLoaded(const LoadedKey& key, absl::string_view message);
  // Empty where the endorsement hierarchy is not ours to use. Errors: the TPM's, when it fails.
  absl::StatusOr<std::string> TpmIdentity();

  const Options options_;
  const std::string machine_identity_;

  std::unique_ptr<EsysContext> context_;  // null before Open
  std::vector<SignatureAlgorithm> algorithms_;
  bool persistent_parent_usable_ = false;
  absl::optional<std::string> tpm_identity_;  // absent: not asked yet
  // The standard parent as the TPM gave it out for loading again: a hundred times faster than
  // making it anew. In memory only, since a TPM reset ends it.
  EsysPtr<TPMS_CONTEXT> transient_parent_context_;
  std::string transient_parent_name_;
  SavedObjects saved_keys_{64};  // by blob
  TpmRecovery wanted_recovery_ = TpmRecovery::kNone;
  int reloads_ = 0;
  absl::optional<LoadedKey> last_used_;  // must end before context_
};

}  // namespace smartkey
