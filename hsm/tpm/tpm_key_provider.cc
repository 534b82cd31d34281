// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_provider.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/log.h"
#include "hsm/ecdsa_signature.h"
#include "hsm/tpm/tpm_capabilities.h"
#include "hsm/tpm/tpm_key_template.h"
#include "hsm/tpm/tpm_lockout.h"
#include "hsm/tpm/tpm_provisioning.h"

namespace smartkey {
namespace {

constexpr absl::string_view kProviderName = "tpm";

absl::string_view Octets(const BYTE* data, UINT16 size) {
  return absl::string_view(reinterpret_cast<const char*>(data), size);
}

TPM2B_DIGEST Digest(SignatureAlgorithm algorithm, absl::string_view message) {
  const auto* data = reinterpret_cast<const unsigned char*>(message.data());
  TPM2B_DIGEST digest = {};
  if (NeedsSha384(algorithm)) {
    digest.size = SHA384_DIGEST_LENGTH;
    SHA384(data, message.size(), digest.buffer);
  } else {
    digest.size = SHA256_DIGEST_LENGTH;
    SHA256(data, message.size(), digest.buffer);
  }
  return digest;
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

TpmKeyProvider::TpmKeyProvider(Options options) : options_(std::move(options)) {}

TpmKeyProvider::~TpmKeyProvider() {
  Close();
}

// ---- Opening

void TpmKeyProvider::Close() {
  last_used_.reset();
  saved_keys_.Clear();
  sealer_.reset();
  parents_.reset();
  algorithms_.clear();
  context_.reset();
}

absl::Status TpmKeyProvider::Connect() {
  Close();
  absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(options_.tcti);
  if (!context.ok()) return context.status();
  context_ = *std::move(context);
  return context_->has_resource_manager() ? absl::OkStatus() : context_->FlushEverything();
}

absl::StatusOr<ProviderCapabilities> TpmKeyProvider::Open() {
  const absl::Status connected = Connect();
  absl::StatusOr<ProviderCapabilities> capabilities =
      connected.ok() ? Probe() : absl::StatusOr<ProviderCapabilities>(connected);
  if (capabilities.ok()) return capabilities;
  Close();
  return Annotate(capabilities.status(), "opening the tpm");
}

absl::StatusOr<ProviderCapabilities> TpmKeyProvider::Probe() {
  ProviderCapabilities capabilities;
  capabilities.provider = std::string(kProviderName);
  capabilities.has_resource_manager = context_->has_resource_manager();
  absl::StatusOr<std::string> hardware = ReadHardwareName(*context_);
  if (!hardware.ok()) return hardware.status();
  capabilities.hardware = *std::move(hardware);
  absl::StatusOr<std::vector<SignatureAlgorithm>> algorithms = ProbeAlgorithms(*context_);
  if (!algorithms.ok()) return algorithms.status();
  algorithms_ = *algorithms;
  capabilities.algorithms = *std::move(algorithms);

  const auto make_room = [this] { last_used_.reset(); };
  parents_.emplace(*context_, options_.machine_id, [this] {
    last_used_.reset();
    saved_keys_.Clear();
    ++reloads_;
  });
  sealer_.emplace(*context_, *parents_, make_room);
  // Also proves that keys can be made at all, before anybody asks for one.
  if (absl::Status status = parents_->Probe(); !status.ok()) return status;
  absl::StatusOr<std::string> detail = Describe();
  if (!detail.ok()) return detail.status();
  capabilities.detail = *std::move(detail);
  return capabilities;
}

absl::StatusOr<std::string> TpmKeyProvider::Describe() {
  absl::StatusOr<std::string> firmware = ReadFirmwareVersion(*context_);
  if (!firmware.ok()) return firmware.status();
  absl::StatusOr<TpmLockout> lockout = ReadLockout(*context_);
  if (!lockout.ok()) return lockout.status();
  const std::pair<absl::string_view, absl::string_view> tcti =
      absl::StrSplit(options_.tcti, absl::MaxSplits(':', 1));
  constexpr size_t kShownNameBytes = 10;  // two of them say the hash's algorithm
  return absl::StrFormat(
      "firmware %s, by %s%s, parent %s with name %s.., %d of %d failures to lockout", *firmware,
      Printable(tcti.first), context_->has_resource_manager() ? " (shared)" : "",
      parents_->kind_for_new_objects(),
      absl::BytesToHexString(parents_->name_for_new_objects().substr(0, kShownNameBytes)),
      lockout->failures, lockout->max_failures);
}

absl::StatusOr<HardwareCondition> TpmKeyProvider::Inspect() {
  if (context_ == nullptr) return NotOpen();
  const absl::StatusOr<TpmLockout> lockout = ReadLockout(*context_);
  if (!lockout.ok()) return lockout.status();
  HardwareCondition condition;
  condition.lockout = HardwareCondition::Lockout{lockout->failures, lockout->max_failures};
  return condition;
}

// ---- Keys

absl::StatusOr<CreatedKey> TpmKeyProvider::CreateKey(SignatureAlgorithm algorithm,
                                                     absl::string_view /*label*/) {
  if (context_ == nullptr) return NotOpen();
  if (std::find(algorithms_.begin(), algorithms_.end(), algorithm) == algorithms_.end()) {
    return MakeError(Reason::kAlgorithmUnsupported,
                     absl::StrCat("this tpm cannot make ", AlgorithmName(algorithm), " keys"));
  }
  CreatedKey created;
  const absl::Status status = parents_->WithReload([&] {
    absl::StatusOr<TpmKeyBlob> blob =
        parents_->Create(TemplateIdFor(algorithm), SigningKeyTemplate(algorithm), {});
    if (!blob.ok()) return blob.status();
    absl::StatusOr<CreatedKey> key = ToCreatedKey(*blob, algorithm);
    if (!key.ok()) return key.status();
    created = *std::move(key);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "creating a key");
  return created;
}

absl::StatusOr<CreatedKey> TpmKeyProvider::ToCreatedKey(const TpmKeyBlob& blob,
                                                        SignatureAlgorithm algorithm) {
  const TPMT_PUBLIC& area = blob.public_area.publicArea;
  if (!MatchesTemplate(area, algorithm)) {
    return MakeError(Reason::kKeyNotProtected, "the tpm made a key other than asked for");
  }
  absl::StatusOr<PublicKey> public_key = ToPublicKey(area);
  if (!public_key.ok()) return public_key.status();
  absl::StatusOr<std::string> bytes = WriteTpmKeyBlob(blob);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<std::string> public_area = MarshalPublic(blob.public_area);
  if (!public_area.ok()) return public_area.status();
  return CreatedKey{
      .reference = {.provider = std::string(kProviderName), .blob = *std::move(bytes)},
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
  last_used_.reset();  // room for the parent
  LoadedKey key = {.blob = reference.blob,
                   .public_key = *std::move(public_key),
                   .algorithm = *AlgorithmOfTemplate(blob->template_id)};
  if (saved_keys_.Has(reference.blob)) {
    if (absl::optional<EsysObject> saved = saved_keys_.Load(*context_, reference.blob)) {
      key.object = *std::move(saved);
      return key;
    }
    parents_->NoteReset();  // most likely
  }
  absl::StatusOr<EsysObject> object = parents_->Load(*blob);
  if (!object.ok()) return object.status();
  key.object = *std::move(object);
  return key;
}

absl::Status TpmKeyProvider::CheckKey(const KeyReference& reference, const PublicKey& expected) {
  if (context_ == nullptr) return NotOpen();
  // That the TPM takes the key's context says nothing about its parent.
  saved_keys_.Forget(reference.blob);
  return Annotate(parents_->WithReload([&] { return Load(reference, expected).status(); }),
                  "checking a key");
}

absl::StatusOr<std::string> TpmKeyProvider::Sign(const KeyReference& reference,
                                                 const PublicKey& expected,
                                                 SignatureAlgorithm algorithm,
                                                 absl::string_view message) {
  if (context_ == nullptr) return NotOpen();
  std::string signature;
  const absl::Status status = parents_->WithReload([&] {
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
  const TPM2B_DIGEST digest = Digest(key.algorithm, message);
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
  if (rc != TSS2_RC_SUCCESS) return TpmFailure(*context_, rc, "sign");
  return ToJose(*signature, key.algorithm);
}

absl::Status TpmKeyProvider::DestroyKey(const KeyReference& reference) {
  if (context_ == nullptr) return NotOpen();
  if (reference.provider != kProviderName) {
    return MakeError(Reason::kKeyUnavailable, "the key was not made in a tpm");
  }
  if (last_used_.has_value() && last_used_->blob == reference.blob) last_used_.reset();
  saved_keys_.Forget(reference.blob);
  return absl::OkStatus();
}

absl::StatusOr<KeyInventory> TpmKeyProvider::ListKeys() {
  if (context_ == nullptr) return NotOpen();
  return KeyInventory();
}

// ---- What only a TPM can do

SecretSealer* TpmKeyProvider::secret_sealer() {
  return sealer_.has_value() ? &*sealer_ : nullptr;
}

absl::StatusOr<ProvisionedParent> TpmKeyProvider::ProvisionParent(const Secret& owner_auth) {
  // On a connection of its own: this is also for a TPM that cannot be opened for want of a parent,
  // and buffers of it may have the password.
  const absl::Status connected = Connect();
  absl::StatusOr<ProvisionedParent> parent = connected.ok()
                                                 ? ProvisionStorageRoot(*context_, owner_auth)
                                                 : absl::StatusOr<ProvisionedParent>(connected);
  Close();
  if (!parent.ok()) return Annotate(parent.status(), "provisioning the tpm");
  return parent;
}

std::string TpmLibraryVersion() {
  return "tpm2-tss " SMARTKEY_TSS2_VERSION;
}

}  // namespace smartkey
