// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// The forms of an ECDSA signature. Hardware gives two integers, padded to the field, minimal, or
// with a zero octet in front, as it likes; JOSE wants exactly r || s, each as long as the field
// (RFC 7518 section 3.4); OpenSSL wants DER with minimal integers (RFC 3279 section 2.2.3).
// Pure functions.

// r || s from two big-endian integers of any length.
// Errors: kSignatureWrong if one of them is empty, zero, or does not fit into `field_size` octets.
absl::StatusOr<std::string> JoseFromIntegers(absl::string_view r, absl::string_view s,
                                             size_t field_size);

// DER ECDSA-Sig-Value from r || s.
// Errors: kSignatureWrong if `jose` is not exactly 2 * field_size octets, or r or s is zero.
absl::StatusOr<std::string> DerFromJose(absl::string_view jose, size_t field_size);

}  // namespace smartkey
