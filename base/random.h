// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace smartkey {

// `size` bytes from the kernel's generator. Never fails: a kernel that cannot give randomness ends
// the process, since nothing safe can be done without it. Thread-safe.
std::string RandomBytes(size_t size);

// At least 127 random bits as 22 base64url characters: ids, jti (RFC 7519 section 4.1.7), state.
// The first is no dash: people type ids in commands, where it would begin an option.
std::string RandomId();

// Whether it could be one.
bool IsId(absl::string_view text);

// In [0, 1): for jitter.
double RandomFraction();

}  // namespace smartkey
