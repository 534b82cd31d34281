// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_blob.h"

#include <tss2/tss2_mu.h>

#include <utility>

#include "absl/types/optional.h"
#include "base/error.h"
#include "hsm/tpm/tpm_key_template.h"

namespace smartkey {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kMaxNameBytes = sizeof(TPMU_NAME);
constexpr size_t kMaxIdentityBytes = 32;

// Takes values off the front of a view; `ok()` turns false at the first that is not there.
class Reader {
 public:
  explicit Reader(absl::string_view rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

  uint8_t U8() { return static_cast<uint8_t>(Octet(Take(1), 0)); }
  uint16_t U16() {
    const absl::string_view two = Take(2);
    return static_cast<uint16_t>(Octet(two, 0) << 8 | Octet(two, 1));
  }
  // Octets with their length in front, at most `limit`.
  absl::string_view Field(size_t limit) {
    const size_t size = U16();
    if (size > limit) ok_ = false;
    return Take(size);
  }

 private:
  static unsigned Octet(absl::string_view octets, size_t i) {
    return i < octets.size() ? static_cast<unsigned char>(octets[i]) : 0u;
  }
  absl::string_view Take(size_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const absl::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

void AppendU16(std::string& out, uint16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xFF));
}

void AppendField(std::string& out, absl::string_view octets) {
  AppendU16(out, static_cast<uint16_t>(octets.size()));
  out.append(octets.data(), octets.size());
}

absl::StatusOr<std::string> MarshalPrivate(const TPM2B_PRIVATE& area) {
  std::string bytes(sizeof(TPM2B_PRIVATE), '\0');
  size_t offset = 0;
  if (Tss2_MU_TPM2B_PRIVATE_Marshal(&area, reinterpret_cast<uint8_t*>(bytes.data()), bytes.size(),
                                    &offset) != TSS2_RC_SUCCESS) {
    return MakeError(Reason::kInternal, "marshalling a wrapped key failed");
  }
  bytes.resize(offset);
  return bytes;
}

absl::Status Damaged(absl::string_view what) {
  return MakeError(Reason::kKeyDamaged, what);
}

// `bytes` must be exactly one structure, in the one form that marshalling gives: the library's
// readers are lenient about inner lengths.
absl::Status ReadAreas(absl::string_view public_bytes, absl::string_view private_bytes,
                       TpmKeyBlob& blob) {
  size_t offset = 0;
  if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(reinterpret_cast<const uint8_t*>(public_bytes.data()),
                                     public_bytes.size(), &offset,
                                     &blob.public_area) != TSS2_RC_SUCCESS) {
    return Damaged("tpm key blob: public area cannot be read");
  }
  offset = 0;
  if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(reinterpret_cast<const uint8_t*>(private_bytes.data()),
                                      private_bytes.size(), &offset,
                                      &blob.private_area) != TSS2_RC_SUCCESS) {
    return Damaged("tpm key blob: private area cannot be read");
  }
  absl::StatusOr<std::string> public_again = MarshalPublic(blob.public_area);
  absl::StatusOr<std::string> private_again = MarshalPrivate(blob.private_area);
  if (!public_again.ok() || *public_again != public_bytes) {
    return Damaged("tpm key blob: public area is not in its marshalled form");
  }
  if (!private_again.ok() || *private_again != private_bytes) {
    return Damaged("tpm key blob: private area is not in its marshalled form");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MarshalPublic(const TPM2B_PUBLIC& area) {
  std::string bytes(sizeof(TPM2B_PUBLIC), '\0');
  size_t offset = 0;
  if (Tss2_MU_TPM2B_PUBLIC_Marshal(&area, reinterpret_cast<uint8_t*>(bytes.data()), bytes.size(),
                                   &offset) != TSS2_RC_SUCCESS) {
    return MakeError(Reason::kInternal, "marshalling a public area failed");
  }
  bytes.resize(offset);
  return bytes;
}

absl::StatusOr<std::string> WriteTpmKeyBlob(const TpmKeyBlob& blob) {
  if (blob.parent_name.empty() || blob.parent_name.size() > kMaxNameBytes ||
      blob.tpm_identity.size() > kMaxIdentityBytes ||
      blob.machine_identity.size() > kMaxIdentityBytes) {
    return MakeError(Reason::kInternal, "a part of a tpm key blob has the wrong length");
  }
  absl::StatusOr<std::string> public_bytes = MarshalPublic(blob.public_area);
  if (!public_bytes.ok()) return public_bytes.status();
  absl::StatusOr<std::string> private_bytes = MarshalPrivate(blob.private_area);
  if (!private_bytes.ok()) return private_bytes.status();

  std::string out;
  out.push_back(static_cast<char>(kVersion));
  out.push_back(static_cast<char>(blob.parent_kind));
  AppendU16(out, blob.template_id);
  AppendField(out, blob.parent_name);
  AppendField(out, blob.tpm_identity);
  AppendField(out, blob.machine_identity);
  AppendField(out, *public_bytes);
  AppendField(out, *private_bytes);
  return out;
}

namespace {

absl::StatusOr<TpmKeyBlob> ParseAnyBlob(absl::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  if (!reader.ok() || version == 0) return Damaged("tpm key blob: no format version");
  if (version > kVersion) {
    return WithRemedy(MakeError(Reason::kKeyUnavailable, "tpm key blob: unknown format version"),
                      "install the newer smartkeyd that made this key again");
  }
  TpmKeyBlob blob;
  const uint8_t kind = reader.U8();
  blob.template_id = reader.U16();
  blob.parent_name = std::string(reader.Field(kMaxNameBytes));
  blob.tpm_identity = std::string(reader.Field(kMaxIdentityBytes));
  blob.machine_identity = std::string(reader.Field(kMaxIdentityBytes));
  const absl::string_view public_bytes = reader.Field(sizeof(TPM2B_PUBLIC));
  const absl::string_view private_bytes = reader.Field(sizeof(TPM2B_PRIVATE));
  if (!reader.ok()) return Damaged("tpm key blob: too short, or a part is too long");
  if (!reader.at_end()) return Damaged("tpm key blob: octets after its end");
  if (blob.parent_name.empty()) return Damaged("tpm key blob: no parent name");
  if (kind != static_cast<uint8_t>(TpmParentKind::kPersistentSrk) &&
      kind != static_cast<uint8_t>(TpmParentKind::kTransientEccV1)) {
    return Damaged("tpm key blob: unknown kind of parent");
  }
  blob.parent_kind = static_cast<TpmParentKind>(kind);
  if (absl::Status status = ReadAreas(public_bytes, private_bytes, blob); !status.ok()) {
    return status;
  }
  return blob;
}

}  // namespace

// What is not of our making has no business here, whatever the TPM would say to it.

absl::StatusOr<TpmKeyBlob> ParseTpmKeyBlob(absl::string_view bytes) {
  absl::StatusOr<TpmKeyBlob> blob = ParseAnyBlob(bytes);
  if (!blob.ok()) return blob;
  const absl::optional<SignatureAlgorithm> algorithm = AlgorithmOfTemplate(blob->template_id);
  if (!algorithm.has_value() || !MatchesTemplate(blob->public_area.publicArea, *algorithm)) {
    return Damaged("tpm key blob: public area does not match its template");
  }
  return blob;
}

absl::StatusOr<TpmKeyBlob> ParseTpmSealedBlob(absl::string_view bytes) {
  absl::StatusOr<TpmKeyBlob> blob = ParseAnyBlob(bytes);
  if (!blob.ok()) return blob;
  if (blob->template_id != static_cast<uint16_t>(TpmTemplateId::kSealedSecretV1) ||
      !MatchesSealedSecret(blob->public_area.publicArea)) {
    return Damaged("sealed secret: public area does not match its template");
  }
  return blob;
}

}  // namespace smartkey
