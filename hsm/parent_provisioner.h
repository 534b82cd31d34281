// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "base/secret.h"

namespace smartkey {

// The storage root key that wraps keys.
struct ProvisionedParent {
  uint32_t handle = 0;         // persistent: 0x81000001
  std::string name;            // TPM 2.0 Part 1 section 16
  bool already_there = false;  // an acceptable one was there before, and nothing was changed
};

// What a TPM can do beside keeping keys: keep its storage root key persistently, which saves making
// it after each reset. An administrator asks for it; nothing else ever makes a persistent object.
// Used from the KeyProvider's thread, and no longer than it; the provider need not be open, is not
// afterwards, and has to be opened anew whatever came of it.
class ParentProvisioner {
 public:
  virtual ~ParentProvisioner() = default;

  // `owner_auth`: the owner hierarchy's password, may be empty. Keys that exist go on working.
  // Errors: kTpmOwnerAuthRequired (the password is wrong or missing), kTpmLockout,
  // kTpmHandleTaken (something that is no storage root key of ours is there; it is left alone),
  // kHardwareFull.
  virtual absl::StatusOr<ProvisionedParent> ProvisionParent(const Secret& owner_auth) = 0;
};

}  // namespace smartkey
