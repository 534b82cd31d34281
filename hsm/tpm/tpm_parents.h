// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "hsm/tpm/tpm_key_template.h"

namespace smartkey {

// TCG TPM v2.0 Provisioning Guidance, section 7.8: where the storage root key is kept.
inline constexpr TPM2_HANDLE kStorageRootHandle = 0x81000001;

// A storage key that wraps objects of ours.
struct TpmParent {
  EsysObject object;
  std::string name;
  TpmParentKind kind = TpmParentKind::kTransientEccV1;
};

// What is at kStorageRootHandle; absent if nothing is. Only TPM_RC_HANDLE says that: after any
// other error we do not know.
absl::StatusOr<absl::optional<TpmParent>> FindPersistentParent(EsysContext& context);

// Whether it can wrap objects of ours: a storage key, noDA, with an empty authorization.
absl::StatusOr<bool> IsUsableParent(EsysContext& context, const EsysObject& object);

// Makes the TCG's standard ECC storage key in the TPM, with the hierarchy's authorization as the
// context has it.
absl::StatusOr<TpmParent> CreateStoragePrimary(EsysContext& context, ESYS_TR hierarchy);

// The parents in an open TPM, and what is wrapped under them. The parent is the machine's storage
// root key at 0x81000001 where there is one that fits, otherwise the TCG's standard ECC one, made
// in the TPM when needed; nothing is made persistent here.
//
// Which parent: the blob holds its Name (a hash of its public area), and an object is loaded only
// under a parent of that Name, wherever it is found. So a storage root key that appears, goes or is
// replaced later takes no key with it that was made under the standard one; keys under another one
// that was there are lost until it is back. Nobody can put another one in between.
//
// An object that no parent fits is lost, which ends when the parent is back: kKeyLostOtherMachine
// if this is not the TPM that made it, else kKeyLostTpmCleared. They are told apart by the Name of
// a primary key of the endorsement hierarchy, which outlives TPM2_Clear, and where that cannot be
// had, by the machine's identity. Both are kept as hashes.
//
// Not thread-safe. `context` must outlive it.
class TpmParents {
 public:
  // `machine_id`: /etc/machine-id or the like; may be empty. `forget` is called when the TPM turns
  // out to have been reset, before anything new is loaded: whoever has something loaded forgets it,
  // since its handle may be somebody else's next.
  TpmParents(EsysContext& context, absl::string_view machine_id, std::function<void()> forget);

  // Decides which parent new objects get, and proves that it can be had.
  // Errors: kTpmOwnerAuthRequired.
  absl::Status Probe();

  // Of new objects, as Probe found it; for people: "persistent 0x81000001", "transient".
  absl::string_view kind_for_new_objects() const;
  const std::string& name_for_new_objects() const { return name_for_new_objects_; }

  // TPM2_Create. The result has everything that WriteTpmKeyBlob takes.
  absl::StatusOr<TpmKeyBlob> Create(TpmTemplateId id, const TPM2B_PUBLIC& wanted,
                                    const TPM2B_SENSITIVE_CREATE& sensitive);

  // TPM2_Load. Room for parent, object, and the object of the running command is needed: the caller
  // has nothing else loaded. Errors: kKeyDamaged, kKeyLost...
  absl::StatusOr<EsysObject> Load(const TpmKeyBlob& blob);

  // The TPM was reset: what was loaded is gone, and what was saved is worth nothing.
  void NoteReset();

  // Runs `attempt`; if what it needed turns out not to be loaded, forgets all that is and runs it
  // again.
  absl::Status WithReload(absl::FunctionRef<absl::Status()> attempt);

 private:
  absl::StatusOr<TpmParent> LoadForNewObjects();
  absl::StatusOr<TpmParent> LoadTransient();
  // The parent that `blob` names, wherever it is; LostReason if nowhere.
  absl::StatusOr<TpmParent> LoadNamed(const TpmKeyBlob& blob);
  absl::Status LostReason(const TpmKeyBlob& blob);
  // Empty where the endorsement hierarchy is not ours to use.
  absl::StatusOr<std::string> TpmIdentity();

  EsysContext& context_;
  const std::string machine_identity_;
  const std::function<void()> forget_;
  bool persistent_usable_ = false;
  std::string name_for_new_objects_;
  absl::optional<std::string> tpm_identity_;  // absent: not asked yet
  // The standard parent as the TPM gave it out for loading again: a hundred times faster than
  // making it anew. In memory only, since a TPM reset ends it.
  EsysPtr<TPMS_CONTEXT> transient_context_;
  std::string transient_name_;
};

}  // namespace smartkey
