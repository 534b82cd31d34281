// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/secret.h"
#include "base/unique_fd.h"

namespace smartkey {

// Memory in which records outlive this process: as long as somebody else, the service manager, has
// its descriptor open (sd_notify(3), FDSTORE=1). On no disk, in no core file, locked as far as
// RLIMIT_MEMLOCK allows; nobody can make it smaller under a running process (memfd_create(2),
// seals).
//
// Slots of one size, of which only the used pages are memory. A slot begins with its record's
// sequence number, length and digest. Whatever moment the process is killed at, a record is whole
// or found out: the length is written first, the digest last, and both go in the opposite order. So
// a slot without a length has nothing in it. Whoever replaces a record writes the new one to a free
// slot before he wipes the old one, and reads the newer if both are there.
//
// Not thread-safe.
class TokenRegion {
 public:
  static constexpr size_t kSlotSize = 16 * 1024;
  static constexpr size_t kLongestRecord = kSlotSize - 64;
  static constexpr int kSlots = 10'240;  // what TokenCache holds at most, and some to replace them

  // An empty one. `owner` is who may take it over, at most 255 bytes.
  // Errors: kInternal if there is no memory, or the kernel cannot seal it.
  static absl::StatusOr<std::unique_ptr<TokenRegion>> Create(absl::string_view owner,
                                                             int slots = kSlots);

  // One that an earlier process made. Damaged records in it are wiped and counted.
  // Errors: kInternal if it is anything else: no sealed memory, of another user, size or version,
  // or of another `owner`; in the last two cases it is wiped as well.
  static absl::StatusOr<std::unique_ptr<TokenRegion>> Adopt(UniqueFd fd, absl::string_view owner,
                                                            int slots = kSlots);

  TokenRegion(const TokenRegion&) = delete;
  TokenRegion& operator=(const TokenRegion&) = delete;
  ~TokenRegion();

  int fd() const { return fd_.get(); }

  // What is in it, in the order of writing.
  struct Record {
    int slot = 0;
    Secret bytes;
  };
  std::vector<Record> Read() const;
  int damaged() const { return damaged_; }  // records that Adopt found damaged

  // Puts a record in a free slot, which is returned. Nothing if there is none, if it is too long or
  // empty, or if there is no memory: then it does not outlive this process, which the log says
  // once.
  absl::optional<int> Write(absl::string_view record);

  // Overwrites the record of a slot that Write or Read gave. It is free then.
  void Wipe(int slot);

 private:
  static constexpr size_t kHeadSize = 4096;

  struct Head;
  struct Slot;

  TokenRegion(UniqueFd fd, int slots);

  absl::Status Map();
  static size_t PlaceOf(int slot) { return kHeadSize + slot * kSlotSize; }
  Slot* At(int slot) const;
  // Memory for the first `size` bytes of the place, locked, so that writing to it cannot fail.
  bool Reserve(size_t place, size_t size);
  void Scan();
  bool IsWhole(int slot);
  void WipeRange(size_t begin, size_t size);
  void Complain(absl::string_view why);

  const UniqueFd fd_;
  const int slots_;
  uint8_t* memory_ = nullptr;

  uint64_t next_sequence_ = 1;
  int damaged_ = 0;
  bool complained_ = false;
  bool locked_ = true;
  std::vector<bool> used_;
  size_t first_free_ = 0;  // no slot before it is free
};

}  // namespace smartkey
