// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "hsm/key_types.h"
#include "hsm/tpm/esys_context.h"

namespace smartkey {

// What a TPM says of itself (TPM 2.0 Part 3, TPM2_GetCapability and TPM2_TestParms). Needs no
// authorization, loads nothing.

// Maker and model: "IBM SW TPM (TPM 2.0)".
absl::StatusOr<std::string> ReadHardwareName(EsysContext& context);

// The algorithms our key templates can be made with, in the order ES384, RS384, ES256, RS256. P-384
// and SHA-384 are missing on many chips, so each is asked for with all its parameters.
absl::StatusOr<std::vector<SignatureAlgorithm>> ProbeAlgorithms(EsysContext& context);

// How long the dictionary attack lockout takes to forgive one failure. Absent where the TPM does
// not say.
absl::optional<absl::Duration> ReadLockoutInterval(EsysContext& context);

}  // namespace smartkey
