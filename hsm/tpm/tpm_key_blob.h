// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// Where the parent that wraps a key came from. Only a hint where to look first: what counts is its
// Name.
enum class TpmParentKind : uint8_t {
  kPersistentSrk = 1,   // 0x81000001
  kTransientEccV1 = 2,  // CreatePrimary(owner, StorageRootTemplate())
};

// What KeyReference::blob holds for a TPM: all it takes to load the key again, on the same TPM
// only. The private part is encrypted by the parent; nothing in here is secret.
//
// Format, version 1, integers big-endian:
//   u8  version (1)
//   u8  parent kind
//   u16 template id (TpmTemplateId)
//   u16 + octets  parent Name
//   u16 + octets  TPM identity, or empty where it could not be told (see TpmKeyProvider)
//   u16 + octets  machine identity, or empty
//   u16 + octets  TPM2B_PUBLIC, marshalled
//   u16 + octets  TPM2B_PRIVATE, marshalled
// and nothing after it. A format never changes; a new one is a new version beside the old.
// A sealed secret is kept in the same form, told by its template id.
struct TpmKeyBlob {
  TpmParentKind parent_kind = TpmParentKind::kTransientEccV1;
  uint16_t template_id = 0;
  std::string parent_name;
  std::string tpm_identity;
  std::string machine_identity;
  TPM2B_PUBLIC public_area = {};
  TPM2B_PRIVATE private_area = {};
};

// Errors: kInternal if a part is longer than its format allows or does not marshal.
absl::StatusOr<std::string> WriteTpmKeyBlob(const TpmKeyBlob& blob);

// Reads any bytes. What it accepts, WriteTpmKeyBlob writes back to the same bytes.
// Errors: kKeyDamaged (not a blob of ours), kKeyUnavailable (written by a newer release).
absl::StatusOr<TpmKeyBlob> ParseTpmKeyBlob(absl::string_view bytes);
// The same for a sealed secret. Neither reads the other's.
absl::StatusOr<TpmKeyBlob> ParseTpmSealedBlob(absl::string_view bytes);

// The marshalled TPM2B_PUBLIC.
absl::StatusOr<std::string> MarshalPublic(const TPM2B_PUBLIC& area);

}  // namespace smartkey
