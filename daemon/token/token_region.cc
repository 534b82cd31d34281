// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_region.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"

namespace smartkey {

namespace {

constexpr size_t kDigestSize = SHA256_DIGEST_LENGTH;
constexpr size_t kPage = 4096;  // no more than the kernel's own
constexpr char kMagic[16] = "smartkey tokens";
// To be raised with every change of what is in a slot or in a record (token_record.cc).
constexpr uint32_t kVersion = 1;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
// Linux 6.3 and 5.1; Debian 12's headers are of 6.1.
constexpr unsigned kNoExecSeal = 0x0008U;
constexpr int kSealFutureWrite = 0x0010;

absl::Status SystemError(absl::string_view what) {
  return MakeError(Reason::kInternal, absl::StrCat(what, ": ", strerror(errno)));
}

// What is written before it is in memory before what is written after it, as far as a process that
// is killed in between can tell: it is the compiler that might have another order.
void WriteOrder() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

UniqueFd CreateMemory() {
  const int fd = memfd_create("smartkeyd-tokens", MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal);
  if (fd >= 0 || errno != EINVAL) return UniqueFd(fd);
  return UniqueFd(memfd_create("smartkeyd-tokens", MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

// That it is what Create made, as far as the kernel knows.
absl::Status CheckMemory(int fd, size_t size) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || (seals & (F_SEAL_WRITE | kSealFutureWrite)) != 0) {
    return MakeError(Reason::kInternal, "the descriptor is no sealed memory that can be written");
  }
  struct stat info {};
  if (fstat(fd, &info) != 0) return SystemError("looking at the descriptor");
  if (info.st_uid != geteuid()) {
    return MakeError(Reason::kInternal, "the memory is another user's");
  }
  if (static_cast<size_t>(info.st_size) != size) {
    return MakeError(Reason::kInternal,
                     absl::StrCat("the memory has ", info.st_size, " bytes instead of ", size));
  }
  if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
    return MakeError(Reason::kInternal, "the memory cannot be written");
  }
  return absl::OkStatus();
}

}  // namespace

struct TokenRegion::Head {
  char magic[16] = {};
  uint32_t version = kVersion;
  uint32_t slots = 0;
  uint64_t slot_size = kSlotSize;
  char owner[256] = {};

  Head(absl::string_view whose, int count) : slots(count) {
    std::memcpy(magic, kMagic, sizeof magic);
    std::memcpy(owner, whose.data(), std::min(whose.size(), sizeof owner - 1));
  }
};

// All zero but for the digest: free.
struct TokenRegion::Slot {
  uint8_t digest[kDigestSize];
  uint64_t sequence;
  uint64_t length;
  uint8_t unused[64 - kDigestSize - 16];
  uint8_t record[kLongestRecord];

  // Of all that is in it, and of the place. False: there is none.
  bool Digest(int slot, uint8_t (&made)[kDigestSize]) const {
    std::string input;
    input.reserve(length + 64);
    absl::StrAppend(&input, slot, ":", sequence, ":", length, ":");
    input.append(reinterpret_cast<const char*>(record), length);
    const bool done =
        SHA256(reinterpret_cast<const uint8_t*>(input.data()), input.size(), made) != nullptr;
    WipeString(input);
    return done;
  }
};

TokenRegion::TokenRegion(UniqueFd fd, int slots)
    : fd_(std::move(fd)), slots_(slots), used_(slots, false) {
  static_assert(sizeof(Slot) == kSlotSize && sizeof(Head) <= kHeadSize);
}

TokenRegion::~TokenRegion() {
  if (memory_ != nullptr) munmap(memory_, PlaceOf(slots_));
}

absl::StatusOr<std::unique_ptr<TokenRegion>> TokenRegion::Create(absl::string_view owner,
                                                                 int slots) {
  UniqueFd fd = CreateMemory();
  if (!fd) return SystemError("making memory for tokens");
  if (ftruncate(fd.get(), PlaceOf(slots)) != 0) return SystemError("sizing the memory");
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return SystemError("sealing the memory");
  std::unique_ptr<TokenRegion> region(new TokenRegion(std::move(fd), slots));
  if (absl::Status status = region->Map(); !status.ok()) return status;
  if (!region->Reserve(0, kHeadSize)) return SystemError("filling the memory");
  new (region->memory_) Head(owner, slots);
  return region;
}

absl::StatusOr<std::unique_ptr<TokenRegion>> TokenRegion::Adopt(UniqueFd fd,
                                                                absl::string_view owner,
                                                                int slots) {
  if (absl::Status status = CheckMemory(fd.get(), PlaceOf(slots)); !status.ok()) {
    return status;
  }
  std::unique_ptr<TokenRegion> region(new TokenRegion(std::move(fd), slots));
  if (absl::Status status = region->Map(); !status.ok()) return status;
  if (!region->Reserve(0, kHeadSize)) return SystemError("filling the memory");
  const Head expected(owner, slots);
  if (std::memcmp(region->memory_, &expected, sizeof expected) != 0) {
    region->WipeRange(0, PlaceOf(slots));
    return MakeError(Reason::kInternal,
                     "the memory is of another version, start of the machine, "
                     "or database");
  }
  region->Scan();
  return region;
}

absl::Status TokenRegion::Map() {
  const size_t size = PlaceOf(slots_);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED) return SystemError("mapping the memory");
  memory_ = static_cast<uint8_t*>(memory);
  if (madvise(memory, size, MADV_DONTDUMP) != 0) return SystemError("keeping it out of core files");
  return absl::OkStatus();
}

TokenRegion::Slot* TokenRegion::At(int slot) const {
  return reinterpret_cast<Slot*>(memory_ + PlaceOf(slot));
}

bool TokenRegion::Reserve(size_t place, size_t size) {
  // Where the kernel has no page left, touching one would end the process (SIGBUS).
  if (fallocate(fd_.get(), 0, place, size) != 0) return false;
  if (locked_ && mlock(memory_ + place, size) != 0) {
    locked_ = false;
    Log(LogLevel::kWarning, "the memory of tokens cannot be locked: it may be swapped out",
        {{"error", strerror(errno)}});
  }
  return true;
}

bool TokenRegion::IsWhole(int slot) {
  const size_t place = PlaceOf(slot);
  if (!Reserve(place, offsetof(Slot, record))) return false;
  const Slot& found = *At(slot);
  if (found.length < 1 || found.length > kLongestRecord) return false;
  if (!Reserve(place, offsetof(Slot, record) + found.length)) return false;
  uint8_t digest[kDigestSize];
  return found.Digest(slot, digest) && std::memcmp(digest, found.digest, kDigestSize) == 0;
}

void TokenRegion::Scan() {
  for (int slot = 0; slot < slots_; ++slot) {
    // Not from the mapping, which would make a page of each hole that is looked at.
    uint8_t head[offsetof(Slot, unused)] = {};
    const ssize_t got = pread(fd_.get(), head, sizeof head, PlaceOf(slot));
    const auto is_zero = [](uint8_t byte) { return byte == 0; };
    if (got == sizeof head && std::all_of(std::begin(head), std::end(head), is_zero)) continue;
    used_[slot] = IsWhole(slot);
    if (used_[slot]) {
      next_sequence_ = std::max(next_sequence_, At(slot)->sequence + 1);
    } else {
      ++damaged_;
      WipeRange(PlaceOf(slot), kSlotSize);
    }
  }
}

std::vector<TokenRegion::Record> TokenRegion::Read() const {
  std::vector<std::pair<uint64_t, int>> order;
  for (int slot = 0; slot < slots_; ++slot) {
    if (used_[slot]) order.emplace_back(At(slot)->sequence, slot);
  }
  std::sort(order.begin(), order.end());
  std::vector<Record> records;
  for (const auto& [sequence, slot] : order) {
    const Slot& one = *At(slot);
    records.push_back({slot, Secret::CopyOf(absl::string_view(
                                 reinterpret_cast<const char*>(one.record), one.length))});
  }
  return records;
}

void TokenRegion::Complain(absl::string_view why) {
  if (std::exchange(complained_, true)) return;
  Log(LogLevel::kWarning, "a token will not outlive this process", {{"reason", why}});
}

absl::optional<int> TokenRegion::Write(absl::string_view record) {
  if (record.empty() || record.size() > kLongestRecord) {
    Complain("it is too long");
    return absl::nullopt;
  }
  while (first_free_ < used_.size() && used_[first_free_]) ++first_free_;
  if (first_free_ == used_.size()) {
    Complain("there are too many");
    return absl::nullopt;
  }
  const int slot = static_cast<int>(first_free_);
  if (!Reserve(PlaceOf(slot), offsetof(Slot, record) + record.size())) {
    Complain("there is no memory");
    return absl::nullopt;
  }
  used_[slot] = true;
  Slot& written = *At(slot);
  written.sequence = next_sequence_++;
  written.length = record.size();
  WriteOrder();
  std::memcpy(written.record, record.data(), record.size());
  WriteOrder();
  uint8_t digest[kDigestSize];
  if (!written.Digest(slot, digest)) {
    Wipe(slot);
    return absl::nullopt;
  }
  std::memcpy(written.digest, digest, kDigestSize);
  WriteOrder();
  return slot;
}

void TokenRegion::Wipe(int slot) {
  Slot& wiped = *At(slot);
  explicit_bzero(wiped.digest, kDigestSize);
  WriteOrder();
  explicit_bzero(wiped.record, std::min<size_t>(wiped.length, kLongestRecord));
  WriteOrder();
  wiped.sequence = 0;
  wiped.length = 0;
  WriteOrder();
  used_[slot] = false;
  first_free_ = std::min<size_t>(first_free_, slot);
}

void TokenRegion::WipeRange(size_t begin, size_t size) {
  const std::string zeros(kPage, '\0');
  const off_t end = begin + size;
  // From one page that is there to the next: what is a hole need not become memory.
  off_t place = lseek(fd_.get(), begin, SEEK_DATA);
  while (place >= 0 && place < end) {
    const size_t rest = std::min<size_t>(kPage, end - place);
    if (pwrite(fd_.get(), zeros.data(), rest, place) != static_cast<ssize_t>(rest)) return;
    place = lseek(fd_.get(), place + rest, SEEK_DATA);
  }
}

}  // namespace smartkey
