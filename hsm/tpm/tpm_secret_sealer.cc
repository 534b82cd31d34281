// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_secret_sealer.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "hsm/tpm/tpm_lockout.h"

namespace smartkey {
namespace {

// Wiped when it ends.
template <typename T>
class Wiped {
 public:
  ~Wiped() { OPENSSL_cleanse(&value, sizeof(value)); }
  T value = {};
};

}  // namespace

absl::StatusOr<std::string> TpmSecretSealer::Seal(const Secret& secret) {
  if (secret.empty() || secret.size() > kMaxSecretBytes) {
    return MakeError(Reason::kInvalidArgument, "a secret to seal has 1 to 128 octets");
  }
  Wiped<TPM2B_SENSITIVE_CREATE> sensitive;
  TPM2B_SENSITIVE_DATA& data = sensitive.value.sensitive.data;
  const absl::string_view octets = secret.RevealSecret();
  data.size = static_cast<UINT16>(octets.size());
  std::copy(octets.begin(), octets.end(), data.buffer);

  make_room_();
  std::string sealed;
  const absl::Status status = parents_.WithReload([&] {
    absl::StatusOr<TpmKeyBlob> blob =
        parents_.Create(TpmTemplateId::kSealedSecretV1, SealedSecretTemplate(), sensitive.value);
    if (!blob.ok()) return blob.status();
    if (!MatchesSealedSecret(blob->public_area.publicArea)) {
      return MakeError(Reason::kKeyNotProtected, "the tpm sealed other than asked for");
    }
    absl::StatusOr<std::string> bytes = WriteTpmKeyBlob(*blob);
    if (!bytes.ok()) return bytes.status();
    sealed = *std::move(bytes);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "sealing a secret");
  return sealed;
}

absl::StatusOr<Secret> TpmSecretSealer::Unseal(absl::string_view sealed) {
  absl::StatusOr<TpmKeyBlob> blob = ParseTpmSealedBlob(sealed);
  if (!blob.ok()) return blob.status();
  make_room_();
  Secret secret;
  const absl::Status status = parents_.WithReload([&] {
    absl::StatusOr<EsysObject> object = parents_.Load(*blob);
    if (!object.ok()) return object.status();
    EsysPtr<TPM2B_SENSITIVE_DATA> data;
    const TSS2_RC rc = EsysContext::Run([&] {
      TPM2B_SENSITIVE_DATA* raw = nullptr;
      const TSS2_RC result = Esys_Unseal(context_.get(), object->get(), ESYS_TR_PASSWORD,
                                         ESYS_TR_NONE, ESYS_TR_NONE, &raw);
      data.reset(raw);
      return result;
    });
    if (rc != TSS2_RC_SUCCESS) return TpmFailure(context_, rc, "unseal");
    secret =
        Secret::CopyOf(absl::string_view(reinterpret_cast<const char*>(data->buffer), data->size));
    OPENSSL_cleanse(data->buffer, data->size);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "unsealing a secret");
  return secret;
}

}  // namespace smartkey
