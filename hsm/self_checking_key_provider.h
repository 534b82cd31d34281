// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "hsm/key_provider.h"

namespace smartkey {

// A KeyProvider that does not trust hardware it has just met: the first signature of each key after
// each Open, and after each time the provider had to meet its hardware anew by itself (`reloads`),
// is verified with OpenSSL against the key's public half before it is given out. What came back
// after a reset may be another chip, and a handle used again may be somebody else's key. Later
// signatures pass through at no cost: whoever verifies one and finds it wrong calls
// KeyService::Reopen. Everything else passes through always.
//
// Errors of Sign, beside the provider's own: kSignatureWrong.
//
// Not thread-safe but for Interrupt, as KeyProvider.
class SelfCheckingKeyProvider : public KeyProvider {
 public:
  explicit SelfCheckingKeyProvider(std::unique_ptr<KeyProvider> provider)
      : provider_(std::move(provider)) {}

  absl::StatusOr<ProviderCapabilities> Open() override;
  absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                       absl::string_view label) override {
    return provider_->CreateKey(algorithm, label);
  }
  absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) override {
    return provider_->CheckKey(reference, expected);
  }
  absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                   SignatureAlgorithm algorithm,
                                   absl::string_view message) override;
  absl::Status DestroyKey(const KeyReference& reference) override;
  absl::StatusOr<KeyInventory> ListKeys() override { return provider_->ListKeys(); }
  absl::StatusOr<HardwareCondition> Inspect() override { return provider_->Inspect(); }
  int reloads() const override { return provider_->reloads(); }
  void Interrupt() override { provider_->Interrupt(); }
  SecretSealer* secret_sealer() override { return provider_->secret_sealer(); }
  ParentProvisioner* parent_provisioner() override { return provider_->parent_provisioner(); }

 private:
  const std::unique_ptr<KeyProvider> provider_;
  std::set<std::string> checked_;  // blobs of keys that have signed right since...
  int checked_at_ = 0;             // ...this many reloads
};

}  // namespace smartkey
