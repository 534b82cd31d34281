// SPDX-License-Identifier: Apache-2.0
// TPM key blobs come from the state database: from disk, a backup, another machine.
//
// Input: a blob. What is accepted is written back to the same bytes and holds a public key of the
// length its type has; what is refused is refused with one of the reader's two reasons.
#include "absl/types/optional.h"
#include "base/error.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "hsm/tpm/tpm_key_template.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

void CheckPublicKey(const TpmKeyBlob& blob) {
  const absl::optional<SignatureAlgorithm> algorithm = AlgorithmOfTemplate(blob.template_id);
  Require(algorithm.has_value(), "a blob of an unknown template was accepted");
  const absl::StatusOr<PublicKey> key = ToPublicKey(blob.public_area.publicArea);
  if (!key.ok()) return;
  Require(key->type == KeyTypeFor(*algorithm), "the key is not of its template's type");
  Require(key->x.size() == FieldSize(key->type) && key->y.size() == FieldSize(key->type),
          "a coordinate is not as long as the field");
}

void Check(absl::string_view input) {
  const absl::StatusOr<TpmKeyBlob> blob = ParseTpmKeyBlob(input);
  if (!blob.ok()) {
    const Reason reason = ReasonOf(blob.status());
    Require(reason == Reason::kKeyDamaged || reason == Reason::kKeyUnavailable,
            "a blob was refused for another reason than being damaged or of a newer release");
    return;
  }
  const absl::StatusOr<std::string> again = WriteTpmKeyBlob(*blob);
  Require(again.ok(), "an accepted blob cannot be written");
  Require(*again == input, "an accepted blob is written back to other bytes");
  CheckPublicKey(*blob);
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // tpm2-tss tells every refused structure on stderr; it reads its environment at its first word.
  static const bool quiet = [] {
    smartkey::TpmKeyProvider::QuietLibraryLog();
    return true;
  }();
  (void)quiet;
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
