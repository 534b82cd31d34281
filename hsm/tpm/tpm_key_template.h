// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "hsm/key_types.h"

namespace smartkey {

// What our objects in a TPM look like. Pure functions.
//
// A template never changes: a key made with it must be found again by every later release, and a
// transient parent is the same key only if its template is the same to the bit. A better template
// is a new id beside the old one.

// Written into every key blob.
enum class TpmTemplateId : uint16_t {
  kEs256V1 = 1,
  kEs384V1 = 2,
  kRs256V1 = 3,
  kRs384V1 = 4,
  kSealedSecretV1 = 5,
};

TpmTemplateId TemplateIdFor(SignatureAlgorithm algorithm);
// Absent for ids that are of no signing key, or not known to this release.
absl::optional<SignatureAlgorithm> AlgorithmOfTemplate(uint16_t id);

// A key that only signs, only with this scheme and hash, made in the TPM, bound to it and to its
// parent, without authorization and outside the dictionary attack protection (noDA: a power cut
// must not lock it).
TPM2B_PUBLIC SigningKeyTemplate(SignatureAlgorithm algorithm);

// A sealed secret: data that only this TPM gives out again, under its parent; without authorization
// and noDA, as the keys.
TPM2B_PUBLIC SealedSecretTemplate();

// The ECC P-256 storage root key of the TCG (TPM v2.0 Provisioning Guidance, section 7.5.1; EK
// Credential Profile, template L-2, as a storage key): what systemd and others make, too.
TPM2B_PUBLIC StorageRootTemplate();

// True if `area` is a parent we can wrap keys under: a storage key bound to this TPM, noDA, usable
// by its authorization value. Whether that value is empty only a try can tell.
bool IsStorageParent(const TPMT_PUBLIC& area);

// True if `area` is what SigningKeyTemplate(algorithm) asks for, unique part aside.
bool MatchesTemplate(const TPMT_PUBLIC& area, SignatureAlgorithm algorithm);

// True if `area` is what SealedSecretTemplate asks for, unique part aside.
bool MatchesSealedSecret(const TPMT_PUBLIC& area);

// ES384 and RS384.
bool NeedsSha384(SignatureAlgorithm algorithm);

// The parameters whose support TPM2_TestParms tells.
TPMT_PUBLIC_PARMS ParametersOf(const TPM2B_PUBLIC& area);

// Coordinates are padded to the field: not every chip does that.
// Errors: kHardwareError for a key of another type or with integers that do not fit.
absl::StatusOr<PublicKey> ToPublicKey(const TPMT_PUBLIC& area);

// All attributes that matter for a signing key, as the TPM's specification spells them (tpm2-tools'
// spelling): fixedtpm, fixedparent, sensitivedataorigin, userwithauth, noda, sign, decrypt,
// restricted.
std::vector<KeyAttribute> AttributesOf(TPMA_OBJECT attributes);

}  // namespace smartkey
