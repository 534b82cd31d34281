// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "daemon/token/token_region.h"
#include "gtest/gtest.h"

namespace smartkey {

// What a service manager does with a descriptor: keeps a duplicate. The memory as it is seen
// through that one, while the process that made it lives and afterwards.
class KeptMemory {
 public:
  explicit KeptMemory(int fd) : fd_(dup(fd)) {
    struct stat info {};
    EXPECT_EQ(fstat(fd_.get(), &info), 0);
    size_ = info.st_size;
    void* mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    EXPECT_NE(mapped, MAP_FAILED);
    bytes_ = static_cast<uint8_t*>(mapped);
  }
  ~KeptMemory() { munmap(bytes_, size_); }
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  UniqueFd HandOver() const { return UniqueFd(dup(fd_.get())); }
  uint8_t* bytes() const { return bytes_; }
  size_t size() const { return size_; }

  // The layout: a page, then slots of a digest (32), a sequence number (8), a length (8), 16 unused
  // bytes and the record.
  static constexpr size_t kHead = 4096;
  static constexpr size_t kDigest = 0;
  static constexpr size_t kSequence = 32;
  static constexpr size_t kRecord = 64;
  uint8_t* slot(int number) const { return bytes_ + kHead + number * TokenRegion::kSlotSize; }
  bool SlotIsZero(int number) const {
    const uint8_t* begin = slot(number);
    for (size_t i = 0; i < TokenRegion::kSlotSize; ++i) {
      if (begin[i] != 0) return false;
    }
    return true;
  }
  bool Contains(absl::string_view text) const {
    return memmem(bytes_, size_, text.data(), text.size()) != nullptr;
  }

 private:
  UniqueFd fd_;
  size_t size_ = 0;
  uint8_t* bytes_ = nullptr;
};

}  // namespace smartkey
