// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace smartkey {

// From now on the bytes of every Secret are in memory of their own: in no core file, between guard
// pages, and locked where RLIMIT_MEMLOCK allows `size` (OPENSSL_secure_malloc(3)). What finds no
// room there goes to the ordinary heap. `size`: octets, a power of two; only what is used of it is
// memory. Call once, before the second thread.
//
// Returns whether it is locked: if not, it may be swapped out.
bool UseSecretHeap(size_t size);

}  // namespace smartkey
