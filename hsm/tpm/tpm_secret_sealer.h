// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hsm/secret_sealer.h"
#include "hsm/tpm/tpm_parents.h"

namespace smartkey {

// Small secrets, sealed by a TPM: data objects under the parent that keys have, of which the TPM
// stores nothing. Bound to this TPM and to nothing else: no PCR (a firmware update must not lock
// anybody out), no authorization. Whoever can use this TPM as we do can unseal; a copy of the disk
// elsewhere cannot. The secret crosses the bus to the chip in the clear.
//
// Not thread-safe. Ends before `parents`.
class TpmSecretSealer : public SecretSealer {
 public:
  // `context`, `parents`: of an open TPM. `make_room` is called before anything is loaded.
  TpmSecretSealer(EsysContext& context, TpmParents& parents, std::function<void()> make_room)
      : context_(context), parents_(parents), make_room_(std::move(make_room)) {}

  absl::StatusOr<std::string> Seal(const Secret& secret) override;
  absl::StatusOr<Secret> Unseal(absl::string_view sealed) override;

 private:
  EsysContext& context_;
  TpmParents& parents_;
  const std::function<void()> make_room_;
};

}  // namespace smartkey
