// SPDX-License-Identifier: Apache-2.0
// References to keys in a token come from the state database: from disk, a backup, another machine.
//
// Input: a reference. What is accepted is written back to the same bytes; what is refused is
// refused with one of the reader's two reasons.
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

void Check(absl::string_view input) {
  const absl::StatusOr<Pkcs11KeyReference> reference = ParsePkcs11KeyReference(input);
  if (!reference.ok()) {
    const Reason reason = ReasonOf(reference.status());
    Require(reason == Reason::kKeyDamaged || reason == Reason::kKeyUnavailable,
            "refused for another reason than being damaged or of a newer release");
    return;
  }
  Require(!reference->id.empty(), "a reference without an id was accepted");
  const absl::StatusOr<std::string> again = WritePkcs11KeyReference(*reference);
  Require(again.ok(), "an accepted reference cannot be written");
  Require(*again == input, "an accepted reference is written back to other bytes");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
