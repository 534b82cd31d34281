// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/bare_tpm.h"

#include <openssl/evp.h>

#include <utility>

#include "absl/time/clock.h"
#include "base/error.h"
#include "hsm/ecdsa_signature.h"
#include "hsm/tpm/tpm_key_template.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

constexpr size_t kP256FieldOctets = 32;

absl::string_view Octets(const TPM2B_ECC_PARAMETER& number) {
  return absl::string_view(reinterpret_cast<const char*>(number.buffer), number.size);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BareTpm>> BareTpm::Connect(const std::string& tcti,
                                                          const std::vector<DuelKey>& keys,
                                                          Loading loading) {
  absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(tcti);
  if (!context.ok()) return context.status();
  std::vector<TpmKeyBlob> blobs;
  for (const DuelKey& key : keys) {
    absl::StatusOr<TpmKeyBlob> blob = ParseTpmKeyBlob(key.reference.blob);
    if (!blob.ok()) return blob.status();
    blobs.push_back(*std::move(blob));
  }
  return std::unique_ptr<BareTpm>(new BareTpm(*std::move(context), std::move(blobs), loading));
}

absl::Status BareTpm::MakeParent() {
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_PUBLIC wanted = StorageRootTemplate();
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION pcrs = {};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = Esys_CreatePrimary(context_->get(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
                                        ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted, &outside,
                                        &pcrs, &handle, nullptr, nullptr, nullptr, nullptr);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "make storage root key");
  parent_ = EsysObject::Transient(*context_, handle);
  return absl::OkStatus();
}

absl::Status BareTpm::SaveAll() {
  saved_.clear();
  for (const TpmKeyBlob& blob : blobs_) {
    absl::StatusOr<EsysObject> key = Load(blob);
    if (!key.ok()) return key.status();
    TPMS_CONTEXT* saved = nullptr;
    const TSS2_RC rc = Esys_ContextSave(context_->get(), key->get(), &saved);
    if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "save context");
    saved_.emplace_back(saved);
  }
  return absl::OkStatus();
}

absl::Status BareTpm::BeginRound() {
  if (absl::Status status = MakeParent(); !status.ok()) return status;
  if (loading_ == Loading::kEachCall) return absl::OkStatus();
  if (loading_ == Loading::kSaved) {
    if (absl::Status status = SaveAll(); !status.ok()) return status;
  } else {
    absl::StatusOr<EsysObject> key = Load(blobs_.front());
    if (!key.ok()) return key.status();
    key_ = *std::move(key);
  }
  parent_.Reset();
  return absl::OkStatus();
}

void BareTpm::EndRound() {
  key_.Reset();
  parent_.Reset();
}

absl::StatusOr<EsysObject> BareTpm::Load(const TpmKeyBlob& blob) {
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = Esys_Load(context_->get(), parent_.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                               ESYS_TR_NONE, &blob.private_area, &blob.public_area, &handle);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "load");
  return EsysObject::Transient(*context_, handle);
}

absl::StatusOr<EsysObject> BareTpm::LoadSaved(const TPMS_CONTEXT& saved) {
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = Esys_ContextLoad(context_->get(), &saved, &handle);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "load context");
  return EsysObject::Transient(*context_, handle);
}

absl::StatusOr<EsysObject> BareTpm::LoadForCall(size_t index) {
  return loading_ == Loading::kSaved ? LoadSaved(*saved_[index]) : Load(blobs_[index]);
}

absl::StatusOr<std::string> BareTpm::Sign(const EsysObject& key) {
  TPM2B_DIGEST digest = {};
  unsigned int size = 0;
  if (EVP_Digest(DuelMessage().data(), DuelMessage().size(), digest.buffer, &size, EVP_sha256(),
                 nullptr) != 1) {
    return MakeError(Reason::kInternal, "sha256 failed");
  }
  digest.size = static_cast<UINT16>(size);
  TPMT_SIG_SCHEME scheme = {};
  scheme.scheme = TPM2_ALG_NULL;
  TPMT_TK_HASHCHECK no_ticket = {};
  no_ticket.tag = TPM2_ST_HASHCHECK;
  no_ticket.hierarchy = TPM2_RH_NULL;
  TPMT_SIGNATURE* raw = nullptr;
  const TSS2_RC rc = Esys_Sign(context_->get(), key.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                               ESYS_TR_NONE, &digest, &scheme, &no_ticket, &raw);
  const EsysPtr<TPMT_SIGNATURE> signature(raw);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "sign");
  const TPMS_SIGNATURE_ECC& ecdsa = signature->signature.ecdsa;
  return JoseFromIntegers(Octets(ecdsa.signatureR), Octets(ecdsa.signatureS), kP256FieldOctets);
}

absl::StatusOr<DuelRound> BareTpm::Run(int calls) {
  DuelRound round;
  round.latencies.reserve(static_cast<size_t>(calls));
  round.signatures.reserve(static_cast<size_t>(calls));
  const absl::Time begin = absl::Now();
  for (int call = 0; call < calls; ++call) {
    const absl::Time start = absl::Now();
    const size_t index = static_cast<size_t>(call) % blobs_.size();
    EsysObject loaded;
    if (loading_ != Loading::kOnce) {
      absl::StatusOr<EsysObject> key = LoadForCall(index);
      if (!key.ok()) return key.status();
      loaded = *std::move(key);
    }
    absl::StatusOr<std::string> signature = Sign(loaded ? loaded : key_);
    loaded.Reset();
    round.latencies.push_back(absl::Now() - start);
    if (!signature.ok()) return signature.status();
    round.signatures.push_back({index, *std::move(signature)});
  }
  round.elapsed = absl::Now() - begin;
  return round;
}

}  // namespace smartkey
