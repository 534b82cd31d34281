// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hsm/key_types.h"
#include "hsm/tpm/esys_context.h"

namespace smartkey {

// What a TPM says of itself (TPM 2.0 Part 3, TPM2_GetCapability and TPM2_TestParms). Needs no
// authorization, loads nothing.

using TpmProperties = std::map<TPM2_PT, UINT32>;

// The fixed or variable properties (Part 2 section 6.13) from `first` on, at most `count`; those
// that the TPM does not have are missing.
absl::StatusOr<TpmProperties> ReadProperties(EsysContext& context, TPM2_PT first, UINT32 count);

// The firmware's version as the maker counts it: "8228.293.26.12".
absl::StatusOr<std::string> ReadFirmwareVersion(EsysContext& context);

// Maker and model: "IBM SW TPM (TPM 2.0)".
absl::StatusOr<std::string> ReadHardwareName(EsysContext& context);

// The algorithms our key templates can be made with, in the order ES384, RS384, ES256, RS256. P-384
// and SHA-384 are missing on many chips, so each is asked for with all its parameters; and since
// some chips take the parameters of a hash that they lack, also whether SHA-384 is among their
// algorithms.
absl::StatusOr<std::vector<SignatureAlgorithm>> ProbeAlgorithms(EsysContext& context);

}  // namespace smartkey
