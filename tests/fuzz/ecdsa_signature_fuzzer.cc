// SPDX-License-Identifier: Apache-2.0
// Hardware gives r and s as it likes. Each re-encoding is compared with OpenSSL's own numbers.
//
// Input: an octet that chooses the field (mostly 32 or 48, sometimes any length), r with its length
// in front, s likewise, and the rest as a signature in JOSE form.
#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "hsm/ecdsa_signature.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

using Bignum = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
using EcdsaSig = std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)>;

Bignum ToBignum(absl::string_view octets) {
  return Bignum(BN_bin2bn(reinterpret_cast<const unsigned char*>(octets.data()),
                          static_cast<int>(octets.size()), nullptr),
                &BN_free);
}

bool SameNumber(absl::string_view a, absl::string_view b) {
  return BN_cmp(ToBignum(a).get(), ToBignum(b).get()) == 0;
}

bool IsZero(absl::string_view octets) {
  return BN_is_zero(ToBignum(octets).get());
}

bool Fits(absl::string_view octets, size_t field) {
  return static_cast<size_t>(BN_num_bytes(ToBignum(octets).get())) <= field;
}

size_t ChooseField(uint8_t choice) {
  if (choice % 4 < 3) return choice % 2 == 0 ? 32 : 48;
  return choice / 4;  // 0 to 63
}

// Whether DerFromJose accepts, and what OpenSSL reads from what it gives.
void CheckDer(absl::string_view jose, size_t field) {
  const absl::StatusOr<std::string> der = DerFromJose(jose, field);
  const bool valid = field > 0 && jose.size() == 2 * field && !IsZero(jose.substr(0, field)) &&
                     !IsZero(jose.substr(field));
  Require(der.ok() == valid, "DerFromJose takes what is no signature, or refuses what is one");
  if (!der.ok()) {
    Require(ReasonOf(der.status()) == Reason::kSignatureWrong, "refused with another reason");
    return;
  }
  const auto* next = reinterpret_cast<const unsigned char*>(der->data());
  const unsigned char* const end = next + der->size();
  const EcdsaSig sig(d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(der->size())),
                     &ECDSA_SIG_free);
  Require(sig != nullptr && next == end, "OpenSSL does not read the DER form");
  const BIGNUM* r = nullptr;
  const BIGNUM* s = nullptr;
  ECDSA_SIG_get0(sig.get(), &r, &s);
  Require(BN_cmp(r, ToBignum(jose.substr(0, field)).get()) == 0, "r has another value in DER");
  Require(BN_cmp(s, ToBignum(jose.substr(field)).get()) == 0, "s has another value in DER");
  Require(!BN_is_negative(r) && !BN_is_negative(s), "an integer is negative in DER");
}

void Check(FuzzInput input) {
  const size_t field = ChooseField(input.Octet());
  const absl::string_view r = input.Field();
  const absl::string_view s = input.Field();

  const absl::StatusOr<std::string> jose = JoseFromIntegers(r, s, field);
  const bool valid = !IsZero(r) && !IsZero(s) && Fits(r, field) && Fits(s, field);
  Require(jose.ok() == valid, "JoseFromIntegers takes what is no signature, or refuses one");
  if (jose.ok()) {
    Require(jose->size() == 2 * field, "the JOSE form is not two fields long");
    Require(SameNumber(jose->substr(0, field), r), "r has another value in JOSE");
    Require(SameNumber(jose->substr(field), s), "s has another value in JOSE");
    CheckDer(*jose, field);
  } else {
    Require(ReasonOf(jose.status()) == Reason::kSignatureWrong, "refused with another reason");
  }
  CheckDer(input.Rest(), field);
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
