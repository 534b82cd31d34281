// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_parents.h"

#include <openssl/sha.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "hsm/tpm/tpm_lockout.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

// Enough to tell machines apart, too little to be looked up anywhere.
constexpr size_t kIdentityBytes = 16;

std::string IdentityHash(absl::string_view purpose, absl::string_view identity) {
  const std::string text = absl::StrCat("smartkeyd ", purpose, ":", identity);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return std::string(reinterpret_cast<const char*>(digest), kIdentityBytes);
}

struct CreatedObject {
  TPM2B_PUBLIC public_area = {};
  TPM2B_PRIVATE private_area = {};
};

TSS2_RC CreateObject(EsysContext& context, ESYS_TR parent, const TPM2B_SENSITIVE_CREATE& sensitive,
                     const TPM2B_PUBLIC& wanted, CreatedObject& created) {
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION pcrs = {};
  TPM2B_PRIVATE* private_area = nullptr;
  TPM2B_PUBLIC* public_area = nullptr;
  const TSS2_RC rc =
      Esys_Create(context.get(), parent, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                  &wanted, &outside, &pcrs, &private_area, &public_area, nullptr, nullptr, nullptr);
  const EsysPtr<TPM2B_PRIVATE> private_owner(private_area);
  const EsysPtr<TPM2B_PUBLIC> public_owner(public_area);
  if (rc == TSS2_RC_SUCCESS) {
    created.private_area = *private_area;
    created.public_area = *public_area;
  }
  return rc;
}

}  // namespace

// ---- One parent

absl::StatusOr<absl::optional<TpmParent>> FindPersistentParent(EsysContext& context) {
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_TR_FromTPMPublic(context.get(), kStorageRootHandle, ESYS_TR_NONE, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &handle);
  });
  if (NormalizedTpmCode(rc) == TPM2_RC_HANDLE) return absl::optional<TpmParent>();
  if (rc != TSS2_RC_SUCCESS) return TpmFailure(context, rc, "read storage root key");
  TpmParent parent;
  parent.object = EsysObject::Persistent(context, handle);
  parent.kind = TpmParentKind::kPersistentSrk;
  absl::StatusOr<std::string> name = parent.object.Name();
  if (!name.ok()) return name.status();
  parent.name = *std::move(name);
  return absl::optional<TpmParent>(std::move(parent));
}

absl::StatusOr<bool> IsUsableParent(EsysContext& context, const EsysObject& object) {
  EsysPtr<TPM2B_PUBLIC> area;
  TSS2_RC rc = EsysContext::Run([&] {
    TPM2B_PUBLIC* raw = nullptr;
    const TSS2_RC result = Esys_ReadPublic(context.get(), object.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                           ESYS_TR_NONE, &raw, nullptr, nullptr);
    area.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return TpmFailure(context, rc, "read storage root key");
  if (!IsStorageParent(area->publicArea)) return false;

  // Does it take an empty authorization? Sealing an octet is the cheapest command that tells. The
  // parent is noDA, so a refusal counts against nobody.
  TPM2B_SENSITIVE_CREATE sensitive = {};
  sensitive.sensitive.data.size = 1;
  CreatedObject sealed;
  rc = EsysContext::Run([&] {
    return CreateObject(context, object.get(), sensitive, SealedSecretTemplate(), sealed);
  });
  if (rc == TSS2_RC_SUCCESS) return true;
  if (RowForTpmCode(rc).reason == Reason::kTpmOwnerAuthRequired) return false;
  return TpmFailure(context, rc, "try storage root key");
}

absl::StatusOr<TpmParent> CreateStoragePrimary(EsysContext& context, ESYS_TR hierarchy) {
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_PUBLIC wanted = StorageRootTemplate();
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION pcrs = {};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_CreatePrimary(context.get(), hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &sensitive, &wanted, &outside, &pcrs, &handle, nullptr,
                              nullptr, nullptr, nullptr);
  });
  if (rc != TSS2_RC_SUCCESS) return TpmFailure(context, rc, "make storage root key");
  TpmParent parent;
  parent.object = EsysObject::Transient(context, handle);
  parent.kind = TpmParentKind::kTransientEccV1;
  absl::StatusOr<std::string> name = parent.object.Name();
  if (!name.ok()) return name.status();
  parent.name = *std::move(name);
  return parent;
}

// ---- All of them

TpmParents::TpmParents(EsysContext& context, absl::string_view machine_id,
                       std::function<void()> forget)
    : context_(context),
      machine_identity_(machine_id.empty() ? "" : IdentityHash("machine", machine_id)),
      forget_(std::move(forget)) {}

absl::Status TpmParents::Probe() {
  persistent_usable_ = false;
  absl::StatusOr<absl::optional<TpmParent>> persistent = FindPersistentParent(context_);
  if (!persistent.ok()) return persistent.status();
  if (persistent->has_value()) {
    absl::StatusOr<bool> usable = IsUsableParent(context_, (*persistent)->object);
    if (!usable.ok()) return usable.status();
    persistent_usable_ = *usable;
  }
  absl::StatusOr<TpmParent> parent = LoadForNewObjects();
  if (!parent.ok()) return parent.status();
  name_for_new_objects_ = parent->name;
  return absl::OkStatus();
}

absl::string_view TpmParents::kind_for_new_objects() const {
  return persistent_usable_ ? "persistent 0x81000001" : "transient";
}

void TpmParents::NoteReset() {
  transient_context_.reset();
  tpm_identity_.reset();  // an emulator may have become another one
  forget_();
}

absl::Status TpmParents::WithReload(absl::FunctionRef<absl::Status()> attempt) {
  absl::Status status = attempt();
  if (status.ok() || TpmRecoveryOf(status) != TpmRecovery::kReload) return status;
  NoteReset();
  return attempt();
}

absl::StatusOr<TpmParent> TpmParents::LoadTransient() {
  if (transient_context_ != nullptr) {
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC rc = EsysContext::Run(
        [&] { return Esys_ContextLoad(context_.get(), transient_context_.get(), &handle); });
    if (rc == TSS2_RC_SUCCESS) {
      TpmParent parent;
      parent.object = EsysObject::Transient(context_, handle);
      parent.kind = TpmParentKind::kTransientEccV1;
      parent.name = transient_name_;
      return parent;
    }
    NoteReset();  // most likely
  }
  absl::StatusOr<TpmParent> parent = CreateStoragePrimary(context_, ESYS_TR_RH_OWNER);
  if (!parent.ok()) return parent;
  TPMS_CONTEXT* saved = nullptr;
  if (Esys_ContextSave(context_.get(), parent->object.get(), &saved) == TSS2_RC_SUCCESS) {
    transient_context_.reset(saved);
    transient_name_ = parent->name;
  }
  return parent;
}

absl::StatusOr<TpmParent> TpmParents::LoadForNewObjects() {
  if (persistent_usable_) {
    absl::StatusOr<absl::optional<TpmParent>> persistent = FindPersistentParent(context_);
    if (!persistent.ok()) return persistent.status();
    if (persistent->has_value()) return *std::move(*persistent);
  }
  return LoadTransient();
}

absl::StatusOr<TpmParent> TpmParents::LoadNamed(const TpmKeyBlob& blob) {
  absl::Status not_tried;
  for (const bool persistent : {blob.parent_kind == TpmParentKind::kPersistentSrk,
                                blob.parent_kind != TpmParentKind::kPersistentSrk}) {
    if (persistent) {
      absl::StatusOr<absl::optional<TpmParent>> found = FindPersistentParent(context_);
      if (!found.ok()) return found.status();
      if (found->has_value() && (*found)->name == blob.parent_name) return *std::move(*found);
    } else {
      absl::StatusOr<TpmParent> found = LoadTransient();
      if (found.ok()) {
        if (found->name == blob.parent_name) return found;
      } else if (ReasonOf(found.status()) == Reason::kTpmOwnerAuthRequired) {
        not_tried = found.status();  // may have been the one
      } else {
        return found.status();
      }
    }
  }
  return not_tried.ok() ? LostReason(blob) : not_tried;
}

absl::StatusOr<std::string> TpmParents::TpmIdentity() {
  if (tpm_identity_.has_value()) return *tpm_identity_;
  // Any primary key of this hierarchy would do; its seed changes with nothing an owner does.
  absl::StatusOr<TpmParent> primary = CreateStoragePrimary(context_, ESYS_TR_RH_ENDORSEMENT);
  if (primary.ok()) {
    tpm_identity_ = IdentityHash("tpm", primary->name);
  } else if (ReasonOf(primary.status()) == Reason::kTpmOwnerAuthRequired) {
    tpm_identity_ = "";
  } else {
    return primary.status();
  }
  return *tpm_identity_;
}

absl::Status TpmParents::LostReason(const TpmKeyBlob& blob) {
  // "Lost" is written down and believed: a TPM that cannot say who it is just now has lost nothing.
  absl::StatusOr<std::string> tpm_identity = TpmIdentity();
  if (!tpm_identity.ok()) return tpm_identity.status();
  bool elsewhere = false;
  if (!blob.tpm_identity.empty() && !tpm_identity->empty()) {
    elsewhere = blob.tpm_identity != *tpm_identity;
  } else if (!blob.machine_identity.empty() && !machine_identity_.empty()) {
    elsewhere = blob.machine_identity != machine_identity_;
  }
  return elsewhere
             ? MakeError(Reason::kKeyLostOtherMachine, "the key was made in another tpm")
             : MakeError(Reason::kKeyLostTpmCleared, "the tpm was cleared since the key was made");
}

// ---- What is wrapped

absl::StatusOr<TpmKeyBlob> TpmParents::Create(TpmTemplateId id, const TPM2B_PUBLIC& wanted,
                                              const TPM2B_SENSITIVE_CREATE& sensitive) {
  // Before the parent: it takes a slot of its own.
  absl::StatusOr<std::string> tpm_identity = TpmIdentity();
  if (!tpm_identity.ok()) return tpm_identity.status();
  absl::StatusOr<TpmParent> parent = LoadForNewObjects();
  if (!parent.ok()) return parent.status();
  CreatedObject object;
  const TSS2_RC rc = EsysContext::Run(
      [&] { return CreateObject(context_, parent->object.get(), sensitive, wanted, object); });
  if (rc != TSS2_RC_SUCCESS) return TpmFailure(context_, rc, "create");
  return TpmKeyBlob{
      .parent_kind = parent->kind,
      .template_id = static_cast<uint16_t>(id),
      .parent_name = parent->name,
      .tpm_identity = *std::move(tpm_identity),
      .machine_identity = machine_identity_,
      .public_area = object.public_area,
      .private_area = object.private_area,
  };
}

absl::StatusOr<EsysObject> TpmParents::Load(const TpmKeyBlob& blob) {
  absl::StatusOr<TpmParent> parent = LoadNamed(blob);
  if (!parent.ok()) return parent.status();
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_Load(context_.get(), parent->object.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                     ESYS_TR_NONE, &blob.private_area, &blob.public_area, &handle);
  });
  if (rc == TSS2_RC_SUCCESS) return EsysObject::Transient(context_, handle);
  absl::Status status = TpmFailure(context_, rc, "load");
  if (!IsParameterError(rc)) return status;
  return MakeError(Reason::kKeyDamaged, status.message());
}

}  // namespace smartkey
