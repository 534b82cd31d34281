// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret.h"

namespace smartkey {

// What some hardware can do beside keeping keys: bind a small secret to itself, so that a copy of
// the disk is worth nothing elsewhere. Used from the KeyProvider's thread, and no longer than it.
class SecretSealer {
 public:
  // TPM 2.0 Part 2, MAX_SYM_DATA: what every TPM can seal.
  static constexpr size_t kMaxSecretBytes = 128;

  virtual ~SecretSealer() = default;

  // The sealed form of `secret`: starts with a format version, may be written to disk.
  // Errors: kInvalidArgument (empty, or longer than kMaxSecretBytes), those of KeyProvider.
  virtual absl::StatusOr<std::string> Seal(const Secret& secret) = 0;

  // Errors: kKeyDamaged (not a sealed secret, or altered), kKeyLostTpmCleared,
  // kKeyLostOtherMachine, those of KeyProvider.
  virtual absl::StatusOr<Secret> Unseal(absl::string_view sealed) = 0;
};

}  // namespace smartkey
