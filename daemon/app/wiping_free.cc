// SPDX-License-Identifier: Apache-2.0
// smartkeyd's freed memory is wiped before anything else gets it.
//
// A token passes through buffers of gRPC, libcurl and the JSON library, which free them as they
// are: Secret can wipe its own copy only. What has been freed would then stand in memory for days,
// until somebody happens to overwrite it.
//
// The GNU C Library lets a program replace these functions ("Replacing malloc"). Only in smartkeyd,
// and not in a sanitizer's build, which has an allocator of its own and keeps freed memory on
// purpose.
#include <malloc.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>

extern "C" {

void __libc_free(void* memory);

void free(void* memory) noexcept {
  if (memory == nullptr) return;
  explicit_bzero(memory, malloc_usable_size(memory));
  __libc_free(memory);
}

// The library's own would move the bytes and free the old place without a call of the above.
void* realloc(void* memory, size_t size) noexcept {
  if (memory == nullptr) return malloc(size);
  if (size == 0) {
    free(memory);
    return nullptr;
  }
  const size_t had = malloc_usable_size(memory);
  if (size <= had && size > had / 2) return memory;
  void* moved = malloc(size);
  if (moved == nullptr) return nullptr;
  memcpy(moved, memory, std::min(had, size));
  free(memory);
  return moved;
}

}  // extern "C"
