// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_region.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/daemon/token/region_memory.h"

namespace smartkey {
namespace {

constexpr char kOwner[] = "boot-1 time-1 instance-1";
constexpr int kSlots = 8;

std::unique_ptr<TokenRegion> Make() {
  absl::StatusOr<std::unique_ptr<TokenRegion>> made = TokenRegion::Create(kOwner, kSlots);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

std::unique_ptr<TokenRegion> Adopt(const KeptMemory& memory) {
  absl::StatusOr<std::unique_ptr<TokenRegion>> adopted =
      TokenRegion::Adopt(memory.HandOver(), kOwner, kSlots);
  EXPECT_TRUE(adopted.ok()) << adopted.status();
  return *std::move(adopted);
}

std::vector<std::string> Texts(const TokenRegion& region) {
  std::vector<std::string> texts;
  for (const TokenRegion::Record& record : region.Read()) {
    texts.emplace_back(record.bytes.RevealSecret());
  }
  return texts;
}

using Strings = std::vector<std::string>;

TEST(TokenRegion, ProcessIsGone_TheNextReadsWhatItWroteInOrder) {
  auto first = Make();
  const KeptMemory memory(first->fd());
  EXPECT_TRUE(Texts(*Adopt(memory)).empty());
  const absl::optional<int> a = first->Write("a");
  ASSERT_TRUE(a.has_value());
  ASSERT_TRUE(first->Write("b").has_value());
  first->Wipe(*a);
  ASSERT_EQ(first->Write(std::string(5000, 'c')), a);  // the place of the older one
  first.reset();

  auto second = Adopt(memory);
  EXPECT_EQ(Texts(*second), (Strings{"b", std::string(5000, 'c')}));
  EXPECT_EQ(second->damaged(), 0);
  ASSERT_TRUE(second->Write("d").has_value());
  second.reset();
  EXPECT_EQ(Texts(*Adopt(memory)), (Strings{"b", std::string(5000, 'c'), "d"}));
}

TEST(TokenRegion, RecordIsWiped_NothingOfItIsInTheMemory) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  const absl::optional<int> slot = region->Write("the-canary-of-a-token");
  ASSERT_TRUE(slot.has_value());
  EXPECT_TRUE(memory.Contains("canary"));
  region->Wipe(*slot);
  EXPECT_TRUE(memory.SlotIsZero(*slot));
  EXPECT_FALSE(memory.Contains("canary"));
  EXPECT_TRUE(Texts(*region).empty());
}

TEST(TokenRegion, EverySlotIsInUse_TheNextRecordHasNoneUntilOneIsFree) {
  auto region = Make();
  for (int i = 0; i < kSlots; ++i) EXPECT_EQ(region->Write(absl::StrCat(i)), i);
  EXPECT_EQ(region->Write("one too many"), absl::nullopt);
  EXPECT_EQ(Texts(*region).size(), kSlots);
  region->Wipe(3);
  EXPECT_EQ(region->Write("fits again"), 3);
}

TEST(TokenRegion, RecordIsAsLongAsASlotOrLonger_TheLongestFits) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  EXPECT_EQ(region->Write(std::string(TokenRegion::kLongestRecord + 1, 'x')), absl::nullopt);
  EXPECT_EQ(region->Write(""), absl::nullopt);
  const std::string longest(TokenRegion::kLongestRecord, 'y');
  ASSERT_TRUE(region->Write(longest).has_value());
  EXPECT_EQ(Texts(*Adopt(memory)), Strings{longest});
}

// The positions of a slot's bytes, in the order in which Write fills them.
std::vector<size_t> WritingOrder(size_t length) {
  std::vector<size_t> order;
  for (size_t i = KeptMemory::kSequence; i < KeptMemory::kSequence + 16; ++i) order.push_back(i);
  for (size_t i = 0; i < length; ++i) order.push_back(KeptMemory::kRecord + i);
  for (size_t i = 0; i < KeptMemory::kSequence; ++i) order.push_back(KeptMemory::kDigest + i);
  return order;
}

// An older record in slot 0, and in slot 1 a newer one of which `bytes` are `there`; what the next
// process finds.
void ExpectOnlyTheOlder(const KeptMemory& memory, const std::string& whole, size_t count) {
  const bool is_whole = std::memcmp(memory.slot(1), whole.data(), whole.size()) == 0;
  const bool is_empty = memory.SlotIsZero(1);
  auto next = Adopt(memory);
  ASSERT_EQ(Texts(*next), is_whole ? (Strings{"older", "the newer one"}) : Strings{"older"})
      << "after " << count << " bytes";
  ASSERT_EQ(next->damaged(), is_whole || is_empty ? 0 : 1) << "after " << count << " bytes";
  ASSERT_EQ(memory.SlotIsZero(1), !is_whole) << "after " << count << " bytes";
  ASSERT_EQ(next->Write("next"), is_whole ? 2 : 1);
  next->Wipe(is_whole ? 2 : 1);
}

TEST(TokenRegion, WritingEndsAfterAnyByte_TheOlderRecordIsThereAndTheHalfOneIsWiped) {
  const std::string record = "the newer one";
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_EQ(region->Write("older"), 0);
  ASSERT_EQ(region->Write(record), 1);
  const std::string whole(reinterpret_cast<char*>(memory.slot(1)), 64 + record.size());
  std::vector<size_t> order = WritingOrder(record.size());
  for (size_t count = 0; count <= order.size(); ++count) {
    std::memset(memory.slot(1), 0, TokenRegion::kSlotSize);
    for (size_t i = 0; i < count; ++i) memory.slot(1)[order[i]] = whole[order[i]];
    ExpectOnlyTheOlder(memory, whole, count);
  }
  // Nor does it depend on that order.
  for (size_t count = 0; count <= whole.size(); ++count) {
    std::memset(memory.slot(1), 0, TokenRegion::kSlotSize);
    std::memcpy(memory.slot(1), whole.data(), count);
    ExpectOnlyTheOlder(memory, whole, count);
  }
}

TEST(TokenRegion, WipingEndsAfterAnyByte_TheRestIsWipedByTheNextProcess) {
  const std::string record = "the newer one";
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_EQ(region->Write("older"), 0);
  ASSERT_EQ(region->Write(record), 1);
  const std::string whole(reinterpret_cast<char*>(memory.slot(1)), 64 + record.size());
  std::vector<size_t> order = WritingOrder(record.size());
  for (size_t count = 0; count <= order.size(); ++count) {
    std::memcpy(memory.slot(1), whole.data(), whole.size());
    for (size_t i = 0; i < count; ++i) memory.slot(1)[order[order.size() - 1 - i]] = 0;
    ExpectOnlyTheOlder(memory, whole, count);
  }
}

TEST(TokenRegion, ABitFlips_TheRecordIsWipedAndCountedAndTheOtherIsThere) {
  const std::string record = "the newer one";
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_EQ(region->Write("older"), 0);
  ASSERT_EQ(region->Write(record), 1);
  const std::string whole(reinterpret_cast<char*>(memory.slot(1)), 64 + record.size());
  for (const size_t place : WritingOrder(record.size())) {
    for (int bit = 0; bit < 8; ++bit) {
      std::memcpy(memory.slot(1), whole.data(), whole.size());
      memory.slot(1)[place] ^= 1 << bit;
      ExpectOnlyTheOlder(memory, whole, place);
    }
  }
}

TEST(TokenRegion, RecordLiesInAnothersSlot_IsDamaged) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_EQ(region->Write("a"), 0);
  std::memcpy(memory.slot(4), memory.slot(0), TokenRegion::kSlotSize);
  auto next = Adopt(memory);
  EXPECT_EQ(Texts(*next), Strings{"a"});
  EXPECT_EQ(next->damaged(), 1);
}

TEST(TokenRegion, AnyByteOfItsHeadDiffers_IsRefusedAndWiped) {
  for (size_t place = 0; place < 16 + 4 + 4 + 8 + sizeof kOwner; ++place) {
    auto region = Make();
    const KeptMemory memory(region->fd());
    ASSERT_TRUE(region->Write("the-canary-of-a-token").has_value());
    region.reset();
    memory.bytes()[place] ^= 1;
    EXPECT_FALSE(TokenRegion::Adopt(memory.HandOver(), kOwner, kSlots).ok()) << place;
    EXPECT_FALSE(memory.Contains("canary")) << place;
  }
}

TEST(TokenRegion, OfAnotherBootOrDatabase_IsRefusedAndWiped) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_TRUE(region->Write("the-canary-of-a-token").has_value());
  EXPECT_FALSE(TokenRegion::Adopt(memory.HandOver(), "boot-2 time-1 instance-1", kSlots).ok());
  EXPECT_FALSE(memory.Contains("canary"));
}

TEST(TokenRegion, OfAnotherSize_IsRefused) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  EXPECT_FALSE(TokenRegion::Adopt(memory.HandOver(), kOwner, kSlots + 1).ok());
  EXPECT_FALSE(TokenRegion::Adopt(memory.HandOver(), kOwner, kSlots - 1).ok());
}

UniqueFd Memory(unsigned flags, int seals) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | flags));
  EXPECT_EQ(ftruncate(fd.get(), KeptMemory::kHead + kSlots * TokenRegion::kSlotSize), 0);
  if (seals != 0 && fcntl(fd.get(), F_ADD_SEALS, seals) != 0) ADD_FAILURE() << "not sealed";
  return fd;
}

TEST(TokenRegion, DescriptorIsSomethingElse_IsRefusedAndLeftAlone) {
  constexpr int kSize = F_SEAL_SHRINK | F_SEAL_GROW;
  std::vector<std::pair<std::string, UniqueFd>> others;
  others.emplace_back("no descriptor", UniqueFd());
  others.emplace_back("not sealed", Memory(MFD_ALLOW_SEALING, 0));
  others.emplace_back("seals may be added", Memory(MFD_ALLOW_SEALING, kSize));
  others.emplace_back("may grow", Memory(MFD_ALLOW_SEALING, F_SEAL_SHRINK | F_SEAL_SEAL));
  others.emplace_back("cannot be written",
                      Memory(MFD_ALLOW_SEALING, kSize | F_SEAL_SEAL | F_SEAL_WRITE));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd writing(ends[1]);
  others.emplace_back("a pipe", UniqueFd(ends[0]));
  FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  const std::string contents(KeptMemory::kHead + kSlots * TokenRegion::kSlotSize, 'x');
  ASSERT_EQ(std::fwrite(contents.data(), 1, contents.size(), file), contents.size());
  std::fflush(file);
  others.emplace_back("a file", UniqueFd(dup(fileno(file))));
  auto region = Make();
  ASSERT_TRUE(region->Write("a").has_value());
  const std::string path = absl::StrCat("/proc/self/fd/", region->fd());
  others.emplace_back("opened for reading", UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  for (auto& [what, fd] : others) {
    EXPECT_FALSE(TokenRegion::Adopt(std::move(fd), kOwner, kSlots).ok()) << what;
  }
  std::string read(contents.size(), '\0');
  EXPECT_EQ(pread(fileno(file), read.data(), read.size(), 0), static_cast<ssize_t>(read.size()));
  EXPECT_EQ(read, contents);
  std::fclose(file);
  EXPECT_EQ(Texts(*region), Strings{"a"});
}

TEST(TokenRegion, SomebodyElseHasTheDescriptor_CannotMakeItSmaller) {
  auto region = Make();
  const UniqueFd others(dup(region->fd()));
  EXPECT_NE(ftruncate(others.get(), 0), 0);
  EXPECT_NE(fcntl(others.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_NE(fcntl(region->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

// The lines of /proc/self/smaps about the memory.
std::string Mapping() {
  std::ifstream smaps("/proc/self/smaps");
  std::string found;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    if (absl::StrContains(line.substr(0, line.find(' ')), "-")) {
      inside = absl::StrContains(line, "smartkeyd-tokens");
    }
    if (inside) absl::StrAppend(&found, line, "\n");
  }
  return found;
}

TEST(TokenRegion, RecordIsInIt_ItsPagesAreLockedAndNoneIsInACoreFile) {
  auto region = Make();
  ASSERT_TRUE(region->Write(std::string(5000, 'x')).has_value());
  int locked_pages = 0;
  for (absl::string_view line : absl::StrSplit(Mapping(), '\n')) {
    if (absl::StartsWith(line, "VmFlags:")) {
      EXPECT_TRUE(absl::StrContains(line, " dd")) << line;
    }
    if (absl::StartsWith(line, "Locked:")) {
      locked_pages += std::atoi(std::string(line.substr(7)).c_str()) / 4;
    }
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their mlock does nothing
  EXPECT_GE(locked_pages, 2) << Mapping();
#endif
}

TEST(TokenRegion, RoomForTenThousand_OnlyWhatIsUsedIsMemory) {
  absl::StatusOr<std::unique_ptr<TokenRegion>> region = TokenRegion::Create(kOwner);
  ASSERT_TRUE(region.ok()) << region.status();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE((*region)->Write(std::string(2000, 'x')).has_value());
  const KeptMemory memory((*region)->fd());
  ASSERT_TRUE(TokenRegion::Adopt(memory.HandOver(), kOwner).ok());
  struct stat info {};
  ASSERT_EQ(fstat((*region)->fd(), &info), 0);
  EXPECT_LE(info.st_blocks * 512, 101 * sysconf(_SC_PAGESIZE));
}

// One key whose record is replaced over and over, as TokenCache does.
[[noreturn]] void ReplaceForEver(TokenRegion& region, int slot) {
  for (unsigned turn = 1;; ++turn) {
    const std::string record(100 + turn % 9000, static_cast<char>('a' + turn % 26));
    const absl::optional<int> next = region.Write(record);
    if (!next.has_value()) _exit(1);
    region.Wipe(slot);
    slot = *next;
  }
}

TEST(TokenRegion, KilledWhileReplacing_AWholeRecordIsThereEachTime) {
  auto region = Make();
  const KeptMemory memory(region->fd());
  ASSERT_EQ(region->Write(std::string(100, 'a')), 0);
  int damaged = 0;
  for (int round = 0; round < 200; ++round) {
    region = Adopt(memory);
    damaged += region->damaged();
    const std::vector<TokenRegion::Record> records = region->Read();
    ASSERT_GE(records.size(), 1U) << "round " << round;
    ASSERT_LE(records.size(), 2U) << "round " << round;
    for (const TokenRegion::Record& record : records) {
      const std::string text(record.bytes.RevealSecret());
      ASSERT_EQ(text, std::string(text.size(), text[0])) << "round " << round;
    }
    for (size_t i = 0; i + 1 < records.size(); ++i) region->Wipe(records[i].slot);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) ReplaceForEver(*region, records.back().slot);
    usleep(500 + round * 37 % 2000);  // the moment of the kill: any will do
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "round " << round;
  }
  RecordProperty("damaged", damaged);
}

}  // namespace
}  // namespace smartkey
