// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/secret_heap.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/secret.h"

namespace smartkey {
namespace {

constexpr size_t kSmallest = 64;  // octets that a Secret takes at least
constexpr int kLocked = 1;        // of CRYPTO_secure_malloc_init's results; 2: made, not locked

void* Allocate(size_t size) {
  void* memory = OPENSSL_secure_malloc(size);
  return memory != nullptr ? memory : malloc(size);
}

void Release(void* memory) {
  if (CRYPTO_secure_allocated(memory) != 0) {
    OPENSSL_secure_free(memory);
  } else {
    free(memory);
  }
}

}  // namespace

bool UseSecretHeap(size_t size) {
  const int made = CRYPTO_secure_malloc_init(size, kSmallest);
  SetSecretMemory({Allocate, Release});
  return made == kLocked;
}

}  // namespace smartkey
