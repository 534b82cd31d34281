// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_provider.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hsm/ecdsa_signature.h"
#include "hsm/tpm/tpm_capabilities.h"
#include "hsm/tpm/tpm_key_template.h"

namespace smartkey {
namespace {

constexpr absl::string_view kProviderName = "tpm";

// TCG TPM v2.0 Provisioning Guidance, section 7.8: where the storage root key is kept.
constexpr TPM2_HANDLE kStorageRootHandle = 0x81000001;

// Enough to tell machines apart, too little to be looked up anywhere.
constexpr size_t kIdentityBytes = 16;

std::string Sha(const EVP_MD* digest, absl::string_view message) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  // Fails only where OpenSSL lacks the digest: then nothing of ours could work.
  if (EVP_Digest(message.data(), message.size(), out, &size, digest, nullptr) != 1) std::abort();
  return std::string(reinterpret_cast<const char*>(out), size);
}

std::string IdentityHash(absl::string_view purpose, absl::string_view identity) {
  return Sha(EVP_sha256(), absl::StrCat("smartkeyd ", purpose, ":", identity))
      .substr(0, kIdentityBytes);
}

absl::string_view Octets(const BYTE* data, UINT16 size) {
  return absl::string_view(reinterpret_cast<const char*>(data), size);
}

absl::StatusOr<std::string> ToJose(const TPMT_SIGNATURE& signature, SignatureAlgorithm algorithm) {
  if (KeyTypeFor(algorithm) == KeyType::kRsa && signature.sigAlg == TPM2_ALG_RSASSA) {
    const TPM2B_PUBLIC_KEY_RSA& sig = signature.signature.rsassa.sig;
    return std::string(Octets(sig.buffer, sig.size));
  }
  if (KeyTypeFor(algorithm) != KeyType::kRsa && signature.sigAlg == TPM2_ALG_ECDSA) {
    const TPMS_SIGNATURE_ECC& ecdsa = signature.signature.ecdsa;
    return JoseFromIntegers(Octets(ecdsa.signatureR.buffer, ecdsa.signatureR.size),
                            Octets(ecdsa.signatureS.buffer, ecdsa.signatureS.size),
                            FieldSize(KeyTypeFor(algorithm)));
  }
  return MakeError(Reason::kSignatureWrong, "the tpm signed with another scheme");
}

absl::Status NotOpen() {
  return MakeError(Reason::kHardwareAbsent, "tpm: not open");
}

}  // namespace

void TpmKeyProvider::QuietLibraryLog() {
  setenv("TSS2_LOG", "all+NONE", /*overwrite=*/0);
}

TpmKeyProvider::TpmKeyProvider(Options options)
    : options_(std::move(options)),
      machine_identity_(
          options_.machine_id.empty() ? "" : IdentityHash("machine", options_.machine_id)) {}

TpmKeyProvider::~TpmKeyProvider() = default;

void TpmKeyProvider::Close() {
  last_used_.reset();
  saved_keys_.Clear();
  transient_parent_context_.reset();
  tpm_identity_.reset();
  persistent_parent_usable_ = false;
  algorithms_.clear();
  context_.reset();
}

absl::Status TpmKeyProvider::Failure(TSS2_RC rc, absl::string_view operation) {
  wanted_recovery_ = RowForTpmCode(rc).recovery;
  absl::Status status = TpmStatus(rc, operation);
  if (ReasonOf(status) == Reason::kTpmLockout) {
    if (const absl::optional<absl::Duration> interval = ReadLockoutInterval(*context_)) {
      status = WithRetryAfter(status, *interval);
    }
  }
  return status;
}

absl::Status TpmKeyProvider::WithReload(absl::FunctionRef<absl::Status()> attempt) {
  wanted_recovery_ = TpmRecovery::kNone;
  absl::Status status = attempt();
  if (status.ok() || wanted_recovery_ != TpmRecovery::kReload) return status;
  ForgetLoaded();
  return attempt();
}

void TpmKeyProvider::ForgetLoaded() {
  last_used_.reset();
  transient_parent_context_.reset();
  ++reloads_;
}

// ---- Opening

absl::StatusOr<ProviderCapabilities> TpmKeyProvider::Open() {
  Close();
  absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(options_.tcti);
  if (!context.ok()) return Annotate(context.status(), "opening the tpm");
  context_ = *std::move(context);
  absl::StatusOr<ProviderCapabilities> capabilities = Probe();
  if (!capabilities.ok()) {
    Close();
    return Annotate(capabilities.status(), "opening the tpm");
  }
  return capabilities;
}

absl::StatusOr<ProviderCapabilities> TpmKeyProvider::Probe() {
  ProviderCapabilities capabilities;
  capabilities.provider = std::string(kProviderName);
  capabilities.has_resource_manager = context_->has_resource_manager();
  if (!context_->has_resource_manager()) {
    if (absl::Status status = context_->FlushEverything(); !status.ok()) return status;
  }
  absl::StatusOr<std::string> hardware = ReadHardwareName(*context_);
  if (!hardware.ok()) return hardware.status();
  capabilities.hardware = *std::move(hardware);
  absl::StatusOr<std::vector<SignatureAlgorithm>> algorithms = ProbeAlgorithms(*context_);
  if (!algorithms.ok()) return algorithms.status();
  algorithms_ = *algorithms;
  capabilities.algorithms = *std::move(algorithms);

  absl::StatusOr<absl::optional<Parent>> persistent = FindPersistentParent();
  if (!persistent.ok()) return persistent.status();
  if (persistent->has_value()) {
    absl::StatusOr<bool> usable = IsUsableParent((*persistent)->object);
    if (!usable.ok()) return usable.status();
    persistent_parent_usable_ = *usable;
  }
  // Also proves that keys can be made at all, before anybody asks for one.
  if (absl::StatusOr<Parent> parent = LoadParentForNewKeys(); !parent.ok()) return parent.status();
  return capabilities;
}

// ---- Parents

absl::StatusOr<absl::optional<TpmKeyProvider::Parent>> TpmKeyProvider::FindPersistentParent() {
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_TR_FromTPMPublic(context_->get(), kStorageRootHandle, ESYS_TR_NONE, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &handle);
  });
  // Only this says that there is none; after any other error we do not know.
  if (NormalizedTpmCode(rc) == TPM2_RC_HANDLE) return absl::optional<Parent>();
  if (rc != TSS2_RC_SUCCESS) return Failure(rc, "read storage root key");
  Parent parent;
  parent.object = EsysObject::Persistent(*context_, handle);
  parent.kind = TpmParentKind::kPersistentSrk;
  absl::StatusOr<std::string> name = parent.object.Name();
  if (!name.ok()) return name.status();
  parent.name = *std::move(name);
  return absl::optional<Parent>(std::move(parent));
}

absl::StatusOr<bool> TpmKeyProvider::IsUsableParent(const EsysObject& object) {
  EsysPtr<TPM2B_PUBLIC> area;
  TSS2_RC rc = EsysContext::Run([&] {
    TPM2B_PUBLIC* raw = nullptr;
    const TSS2_RC result = Esys_ReadPublic(context_->get(), object.get(), ESYS_TR_NONE,
                                           ESYS_TR_NONE, ESYS_TR_NONE, &raw, nullptr, nullptr);
    area.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return Failure(rc, "read storage root key");
  if (!IsStorageParent(area->publicArea)) return false;

  // Does it take an empty authorization? Sealing an octet is the cheapest command that tells. The
  // parent is noDA, so a refusal counts against nobody.
  TPM2B_SENSITIVE_CREATE sensitive = {};
  sensitive.sensitive.data.size = 1;
  TPM2B_PUBLIC sealed = {};
  sealed.publicArea.type = TPM2_ALG_KEYEDHASH;
  sealed.publicArea.nameAlg = TPM2_ALG_SHA256;
  sealed.publicArea.objectAttributes =
      TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA;
  sealed.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  rc = EsysContext::Run([&] { return CreateObject(object.get(), sensitive, sealed, nullptr); });
  if (rc == TSS2_RC_SUCCESS) return true;
  if (RowForTpmCode(rc).reason == Reason::kTpmOwnerAuthRequired) return false;
  return Failure(rc, "try storage root key");
}

absl::StatusOr<TpmKeyProvider::Parent> TpmKeyProvider::CreateStoragePrimary(ESYS_TR hierarchy) {
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_PUBLIC wanted = StorageRootTemplate();
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION pcrs = {};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_CreatePrimary(context_->get(), hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &sensitive, &wanted, &outside, &pcrs, &handle, nullptr,
                              nullptr, nullptr, nullptr);
  });
  if (rc != TSS2_RC_SUCCESS) return Failure(rc, "make storage root key");
  Parent parent;
  parent.object = EsysObject::Transient(*context_, handle);
  parent.kind = TpmParentKind::kTransientEccV1;
  absl::StatusOr<std::string> name = parent.object.Name();
  if (!name.ok()) return name.status();
  parent.name = *std::move(name);
  return parent;
}

absl::StatusOr<TpmKeyProvider::Parent> TpmKeyProvider::LoadTransientParent() {
  if (transient_parent_context_ != nullptr) {
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC rc = EsysContext::Run([&] {
      return Esys_ContextLoad(context_->get(), transient_parent_context_.get(), &handle);
    });
    if (rc == TSS2_RC_SUCCESS) {
      Parent parent;
      parent.object = EsysObject::Transient(*context_, handle);
      parent.kind = TpmParentKind::kTransientEccV1;
      parent.name = transient_parent_name_;
      return parent;
    }
    ForgetLoaded();  // most likely; then the handle of the key used last means nothing, either
  }
  absl::StatusOr<Parent> parent = CreateStoragePrimary(ESYS_TR_RH_OWNER);
  if (!parent.ok()) return parent;
  TPMS_CONTEXT* saved = nullptr;
  if (Esys_ContextSave(context_->get(), parent->object.get(), &saved) == TSS2_RC_SUCCESS) {
    transient_parent_context_.reset(saved);
    transient_parent_name_ = parent->name;
  }
  return parent;
}

absl::StatusOr<TpmKeyProvider::Parent> TpmKeyProvider::LoadParentForNewKeys() {
  if (persistent_parent_usable_) {
    absl::StatusOr<absl::optional<Parent>> persistent = FindPersistentParent();
    if (!persistent.ok()) return persistent.status();
    if (persistent->has_value()) return *std::move(*persistent);
  }
  return LoadTransientParent();
}

absl::StatusOr<TpmKeyProvider::Parent> TpmKeyProvider::LoadParentNamed(const TpmKeyBlob& blob) {
  absl::Status not_tried;
  for (const bool persistent : {blob.parent_kind == TpmParentKind::kPersistentSrk,
                                blob.parent_kind != TpmParentKind::kPersistentSrk}) {
    if (persistent) {
      absl::StatusOr<absl::optional<Parent>> found = FindPersistentParent();
      if (!found.ok()) return found.status();
      if (found->has_value() && (*found)->name == blob.parent_name) return *std::move(*found);
    } else {
      absl::StatusOr<Parent> found = LoadTransientParent();
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

absl::StatusOr<std::string> TpmKeyProvider::TpmIdentity() {
  if (!tpm_identity_.has_value()) {
    // Any primary key of this hierarchy would do; its seed changes with nothing an owner does.
    absl::StatusOr<Parent> primary = CreateStoragePrimary(ESYS_TR_RH_ENDORSEMENT);
    if (primary.ok()) {
      tpm_identity_ = IdentityHash("tpm", primary->name);
    } else if (ReasonOf(primary.status()) == Reason::kTpmOwnerAuthRequired) {
      tpm_identity_ = "";
    } else {
      return primary.status();
    }
  }
  return *tpm_identity_;
}

absl::Status TpmKeyProvider::LostReason(const TpmKeyBlob& blob) {
  // "Lost" is written down and believed: a TPM that cannot say who it is just now has lost nothing.
  const absl::StatusOr<std::string> tpm_identity = TpmIdentity();
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

// ---- Keys

TSS2_RC TpmKeyProvider::CreateObject(ESYS_TR parent, const TPM2B_SENSITIVE_CREATE& sensitive,
                                     const TPM2B_PUBLIC& wanted, CreatedObject* created) {
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION pcrs = {};
  TPM2B_PRIVATE* private_area = nullptr;
  TPM2B_PUBLIC* public_area = nullptr;
  const TSS2_RC rc =
      Esys_Create(context_->get(), parent, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                  &wanted, &outside, &pcrs, &private_area, &public_area, nullptr, nullptr, nullptr);
  const EsysPtr<TPM2B_PRIVATE> private_owner(private_area);
  const EsysPtr<TPM2B_PUBLIC> public_owner(public_area);
  if (rc == TSS2_RC_SUCCESS && created != nullptr) {
    created->private_area = *private_area;
    created->public_area = *public_area;
  }
  return rc;
}

absl::StatusOr<CreatedKey> TpmKeyProvider::CreateKey(SignatureAlgorithm algorithm,
                                                     absl::string_view /*label*/) {
  if (context_ == nullptr) return NotOpen();
  if (std::find(algorithms_.begin(), algorithms_.end(), algorithm) == algorithms_.end()) {
    return MakeError(Reason::kAlgorithmUnsupported,
                     absl::StrCat("this tpm cannot make ", AlgorithmName(algorithm), " keys"));
  }
  CreatedKey created;
  const absl::Status status = WithReload([&] {
    // Asked before the parent is loaded: it takes a slot of its own. A key made without it could
    // not be told from another machine's later.
    if (absl::Status known = TpmIdentity().status(); !known.ok()) return known;
    absl::StatusOr<Parent> parent = LoadParentForNewKeys();
    if (!parent.ok()) return parent.status();
    absl::StatusOr<CreatedKey> key = CreateUnder(*parent, algorithm);
    if (!key.ok()) return key.status();
    created = *std::move(key);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "creating a key");
  return created;
}

absl::StatusOr<CreatedKey> TpmKeyProvider::CreateUnder(const Parent& parent,
                                                       SignatureAlgorithm algorithm) {
  CreatedObject object;
  const TSS2_RC rc = EsysContext::Run([&] {
    return CreateObject(parent.object.get(), {}, SigningKeyTemplate(algorithm), &object);
  });
  if (rc != TSS2_RC_SUCCESS) return Failure(rc, "create");
  const TPMT_PUBLIC& area = object.public_area.publicArea;
  if (!MatchesTemplate(area, algorithm)) {
    return MakeError(Reason::kKeyNotProtected, "the tpm made a key other than asked for");
  }
  absl::StatusOr<PublicKey> public_key = ToPublicKey(area);
  if (!public_key.ok()) return public_key.status();
  absl::StatusOr<std::string> blob = WriteTpmKeyBlob(TpmKeyBlob{
      .parent_kind = parent.kind,
      .template_id = static_cast<uint16_t>(TemplateIdFor(algorithm)),
      .parent_name = parent.name,
      .tpm_identity = tpm_identity_.value_or(""),
      .machine_identity = machine_identity_,
      .public_area = object.public_area,
      .private_area = object.private_area,
  });
  if (!blob.ok()) return blob.status();
  absl::StatusOr<std::string> public_area = MarshalPublic(object.public_area);
  if (!public_area.ok()) return public_area.status();
  return CreatedKey{
      .reference = {.provider = std::string(kProviderName), .blob = *std::move(blob)},
      .algorithm = algorithm,
      .public_key = *std::move(public_key),
      .attributes = AttributesOf(area.objectAttributes),
      .public_area = *std::move(public_area),
  };
}

absl::StatusOr<TpmKeyProvider::LoadedKey> TpmKeyProvider::Load(const KeyReference& reference,
                                                               const PublicKey& expected) {
  if (reference.provider != kProviderName) {
    return MakeError(Reason::kKeyUnavailable, "the key was not made in a tpm");
  }
  absl::StatusOr<TpmKeyBlob> blob = ParseTpmKeyBlob(reference.blob);
  if (!blob.ok()) return blob.status();
  absl::StatusOr<PublicKey> public_key = ToPublicKey(blob->public_area.publicArea);
  if (!public_key.ok()) return public_key.status();
  if (*public_key != expected) {
    return MakeError(Reason::kKeyDamaged, "the tpm key blob holds another key than expected");
  }
  // Room first: parent, key and the object of the running command are all a TPM must have room for.
  last_used_.reset();
  LoadedKey key = {.blob = reference.blob,
                   .public_key = *std::move(public_key),
                   .algorithm = *AlgorithmOfTemplate(blob->template_id)};
  if (absl::optional<EsysObject> saved = saved_keys_.Load(*context_, reference.blob)) {
    key.object = *std::move(saved);
    return key;
  }
  absl::StatusOr<EsysObject> object = LoadUnderParent(*blob);
  if (!object.ok()) return object.status();
  key.object = *std::move(object);
  return key;
}

absl::StatusOr<EsysObject> TpmKeyProvider::LoadUnderParent(const TpmKeyBlob& blob) {
  absl::StatusOr<Parent> parent = LoadParentNamed(blob);
  if (!parent.ok()) return parent.status();
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_Load(context_->get(), parent->object.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                     ESYS_TR_NONE, &blob.private_area, &blob.public_area, &handle);
  });
  if (rc == TSS2_RC_SUCCESS) return EsysObject::Transient(*context_, handle);
  absl::Status status = Failure(rc, "load");
  if (!IsParameterError(rc)) return status;
  return MakeError(Reason::kKeyDamaged, status.message());
}

absl::Status TpmKeyProvider::CheckKey(const KeyReference& reference, const PublicKey& expected) {
  if (context_ == nullptr) return NotOpen();
  // That the TPM takes the key's context says nothing about its parent.
  saved_keys_.Forget(reference.blob);
  return Annotate(WithReload([&] { return Load(reference, expected).status(); }), "checking a key");
}

absl::StatusOr<std::string> TpmKeyProvider::Sign(const KeyReference& reference,
                                                 const PublicKey& expected,
                                                 SignatureAlgorithm algorithm,
                                                 absl::string_view message) {
  if (context_ == nullptr) return NotOpen();
  std::string signature;
  const absl::Status status = WithReload([&] {
    if (!last_used_.has_value() || last_used_->blob != reference.blob ||
        last_used_->public_key != expected) {
      absl::StatusOr<LoadedKey> key = Load(reference, expected);
      if (!key.ok()) return key.status();
      last_used_ = *std::move(key);
      if (!saved_keys_.Has(reference.blob)) {
        saved_keys_.Save(*context_, reference.blob, last_used_->object);
      }
    }
    if (last_used_->algorithm != algorithm) {
      return MakeError(Reason::kAlgorithmUnsupported, "the key is for another algorithm");
    }
    absl::StatusOr<std::string> result = SignLoaded(*last_used_, message);
    if (!result.ok()) return result.status();
    signature = *std::move(result);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "signing");
  return signature;
}

absl::StatusOr<std::string> TpmKeyProvider::SignLoaded(const LoadedKey& key,
                                                       absl::string_view message) {
  const bool sha384 =
      key.algorithm == SignatureAlgorithm::kEs384 || key.algorithm == SignatureAlgorithm::kRs384;
  const std::string hash = Sha(sha384 ? EVP_sha384() : EVP_sha256(), message);
  TPM2B_DIGEST digest = {};
  digest.size = static_cast<UINT16>(hash.size());
  std::copy(hash.begin(), hash.end(), digest.buffer);
  TPMT_SIG_SCHEME scheme = {};
  scheme.scheme = TPM2_ALG_NULL;  // the key's own
  // Only a restricted key asks for proof that the TPM made the digest (Part 3 section 20.2).
  TPMT_TK_HASHCHECK no_ticket = {};
  no_ticket.tag = TPM2_ST_HASHCHECK;
  no_ticket.hierarchy = TPM2_RH_NULL;

  EsysPtr<TPMT_SIGNATURE> signature;
  const TSS2_RC rc = EsysContext::Run([&] {
    TPMT_SIGNATURE* raw = nullptr;
    // The password session is no session: it is empty, costs no command and no slot, and there is
    // no authorization it could give away.
    const TSS2_RC result =
        Esys_Sign(context_->get(), key.object.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                  &digest, &scheme, &no_ticket, &raw);
    signature.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return Failure(rc, "sign");
  return ToJose(*signature, key.algorithm);
}

absl::Status TpmKeyProvider::DestroyKey(const KeyReference& reference) {
  if (context_ == nullptr) return NotOpen();
  if (last_used_.has_value() && last_used_->blob == reference.blob) last_used_.reset();
  saved_keys_.Forget(reference.blob);
  return absl::OkStatus();
}

absl::StatusOr<KeyInventory> TpmKeyProvider::ListKeys() {
  if (context_ == nullptr) return NotOpen();
  return KeyInventory();
}

}  // namespace smartkey
