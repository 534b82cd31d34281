// SPDX-License-Identifier: Apache-2.0
#include "hsm/self_checking_key_provider.h"

#include "base/error.h"

namespace smartkey {

absl::StatusOr<ProviderCapabilities> SelfCheckingKeyProvider::Open() {
  checked_.clear();
  absl::StatusOr<ProviderCapabilities> opened = provider_->Open();
  checked_at_ = provider_->reloads();
  return opened;
}

absl::StatusOr<std::string> SelfCheckingKeyProvider::Sign(const KeyReference& reference,
                                                          const PublicKey& expected,
                                                          SignatureAlgorithm algorithm,
                                                          absl::string_view message) {
  absl::StatusOr<std::string> signature = provider_->Sign(reference, expected, algorithm, message);
  if (!signature.ok()) return signature;
  if (const int reloads = provider_->reloads(); reloads != checked_at_) {
    checked_.clear();
    checked_at_ = reloads;
  }
  if (checked_.count(reference.blob) > 0) return signature;
  if (!VerifySignature(expected, algorithm, message, *signature)) {
    return MakeError(Reason::kSignatureWrong,
                     "the hardware's first signature since it was opened is wrong");
  }
  checked_.insert(reference.blob);
  return signature;
}

absl::Status SelfCheckingKeyProvider::DestroyKey(const KeyReference& reference) {
  checked_.erase(reference.blob);
  return provider_->DestroyKey(reference);
}

}  // namespace smartkey
