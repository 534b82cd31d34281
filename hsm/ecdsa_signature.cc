// SPDX-License-Identifier: Apache-2.0
#include "hsm/ecdsa_signature.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>

#include <memory>

#include "base/error.h"

namespace smartkey {
namespace {

absl::string_view WithoutLeadingZeros(absl::string_view integer) {
  while (!integer.empty() && integer.front() == '\0') integer.remove_prefix(1);
  return integer;
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

absl::StatusOr<std::string> JoseFromIntegers(absl::string_view r, absl::string_view s,
                                             size_t field_size) {
  std::string jose;
  jose.reserve(2 * field_size);
  for (absl::string_view integer : {WithoutLeadingZeros(r), WithoutLeadingZeros(s)}) {
    // SEC 1 section 4.1.3: r and s are in [1, n - 1], so nothing empty is a signature.
    if (integer.empty()) {
      return MakeError(Reason::kSignatureWrong,
                       "the hardware's ecdsa signature has a zero integer");
    }
    if (integer.size() > field_size) {
      return MakeError(Reason::kSignatureWrong,
                       "the hardware's ecdsa signature has an integer longer than the field");
    }
    jose.append(field_size - integer.size(), '\0');
    jose.append(integer.data(), integer.size());
  }
  return jose;
}

absl::StatusOr<std::string> DerFromJose(absl::string_view jose, size_t field_size) {
  if (field_size == 0 || jose.size() != 2 * field_size) {
    return MakeError(Reason::kSignatureWrong, "ecdsa signature of the wrong length");
  }
  const int size = static_cast<int>(field_size);
  std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> sig(ECDSA_SIG_new(), &ECDSA_SIG_free);
  std::unique_ptr<BIGNUM, decltype(&BN_free)> r(BN_bin2bn(Bytes(jose), size, nullptr), &BN_free);
  std::unique_ptr<BIGNUM, decltype(&BN_free)> s(BN_bin2bn(Bytes(jose) + size, size, nullptr),
                                                &BN_free);
  if (sig == nullptr || r == nullptr || s == nullptr || BN_is_zero(r.get()) ||
      BN_is_zero(s.get())) {
    return MakeError(Reason::kSignatureWrong, "ecdsa signature with a zero integer");
  }
  ECDSA_SIG_set0(sig.get(), r.release(), s.release());  // fails for null pointers only
  unsigned char* der = nullptr;
  const int der_size = i2d_ECDSA_SIG(sig.get(), &der);
  if (der_size <= 0) return MakeError(Reason::kInternal, "encoding an ecdsa signature failed");
  std::string result(reinterpret_cast<const char*>(der), static_cast<size_t>(der_size));
  OPENSSL_free(der);
  return result;
}

}  // namespace smartkey
