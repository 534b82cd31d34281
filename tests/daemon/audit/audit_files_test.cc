// SPDX-License-Identifier: Apache-2.0
// The lines and files of the audit log, and how their end is found again.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "daemon/audit/audit_line.h"
#include "tests/daemon/audit/audit_files_fixture.h"

namespace smartkey {
namespace {

TEST_F(AuditFiles, LineIsWrittenAndRead_NothingIsLost) {
  AuditEntry entry = Entry();
  const std::string line = ToAuditLine(AuditHead(), entry);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << "one line, whatever is in it";
  const auto read = ParseAuditLine(line.substr(0, line.size() - 1));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->sequence, 1u);
  EXPECT_EQ(read->time, entry.time);
  EXPECT_EQ(read->user, entry.user);
  EXPECT_EQ(read->login, entry.login);
  EXPECT_EQ(read->pid, entry.pid);
  EXPECT_EQ(read->unit, entry.unit);
  EXPECT_EQ(read->executable, entry.executable);
  EXPECT_EQ(read->admin, entry.admin);
  EXPECT_EQ(read->operation, entry.operation);
  EXPECT_EQ(read->registration_id, entry.registration_id);
  EXPECT_EQ(read->outcome, entry.outcome);
  EXPECT_EQ(read->repeats, entry.repeats);
  EXPECT_EQ(read->facts, entry.facts);
  EXPECT_EQ(read->hash, entry.hash);
}

TEST_F(AuditFiles, BytesThatAreNoText_AreWrittenAndFit) {
  AuditEntry entry = Entry();
  entry.executable = "/tmp/\xff\xfe\x01";
  const std::string line = ToAuditLine(AuditHead(), entry);
  EXPECT_TRUE(ParseAuditLine(line.substr(0, line.size() - 1)).ok());
  EXPECT_TRUE(FitsAfter(AuditHead().hash, line.substr(0, line.size() - 1)));
}

TEST_F(AuditFiles, ClosedAndOpenedAgain_TheChainGoesOn) {
  AuditHead head;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 3);
    head = writer.head();
    EXPECT_EQ(head.sequence, 4u) << "the file's own line is the first";
  }
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  EXPECT_TRUE(writer.head() == head);
  Append(writer, 2);
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.entries, 6u);
  EXPECT_FALSE(found.first_broken.has_value());
  EXPECT_TRUE(found.problems.empty());
  EXPECT_EQ(ListAuditFiles(Options().directory).size(), 1u);
}

TEST_F(AuditFiles, IsForItsOwnerOnly) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  struct stat info {};
  ASSERT_EQ(stat(OnlyFile().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(Options().directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(AuditFiles, KilledInTheMiddleOfALine_TheRestIsCutOffAndTheChainGoesOn) {
  AuditHead head;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 2);
    head = writer.head();
  }
  const std::string whole = ReadFile(OnlyFile());
  for (const size_t torn : {1u, 40u, 64u, 65u, 100u}) {
    WriteFile(OnlyFile(), whole + whole.substr(0, torn));
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    EXPECT_TRUE(writer.head() == head) << torn;
    EXPECT_EQ(ReadFile(OnlyFile()), whole) << torn;
  }
}

TEST_F(AuditFiles, KilledWhileAFileBegins_TheChainGoesOnFromTheOneBefore) {
  AuditHead head;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 2);
    head = writer.head();
  }
  for (const std::string torn : {"", "5b1f"}) {
    WriteFile(dir_.File("audit") + "/audit-00000000000000000004.log", torn);
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    EXPECT_TRUE(writer.head() == head);
    EXPECT_TRUE(Check(head).problems.empty());
  }
}

TEST_F(AuditFiles, FileIsFull_TheNextOneCarriesTheHeadOver) {
  AuditWriter::Options options = Options();
  options.file_size = 2000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  for (int i = 0; i < 20; ++i) Append(writer, 1);
  EXPECT_GT(ListAuditFiles(options.directory).size(), 2u);
  const AuditVerification found = Check(writer.head());
  EXPECT_FALSE(found.first_broken.has_value());
  EXPECT_EQ(found.entries, writer.head().sequence);
}

TEST_F(AuditFiles, OldFilesAreRemoved_TheRestIsStillAChain) {
  AuditWriter::Options options = Options();
  options.retention = absl::Hours(24 * 30);
  AuditWriter writer(options);
  absl::Time now = kNow;
  ASSERT_TRUE(writer.Open(now).ok());
  for (int week = 0; week < 12; ++week) {
    Append(writer, 2, now);
    now += absl::Hours(24 * 7);
  }
  std::vector<AuditFile> files = ListAuditFiles(options.directory);
  EXPECT_LT(files.size(), 8u);
  EXPECT_GT(files.size(), 3u);
  const AuditVerification found = Check(writer.head());
  EXPECT_FALSE(found.first_broken.has_value()) << found.problems.at(0);
  EXPECT_EQ(found.first_sequence, files[0].first_sequence);

  const size_t kept = files.size();
  Append(writer, 1, now + absl::Hours(24 * 3650));  // a clock that has gone mad
  files = ListAuditFiles(options.directory);
  EXPECT_GE(files.size() + 3, kept) << "one began, four at most went";
}

TEST_F(AuditFiles, SizeLimitIsReached_NothingIsWrittenAndWhatIsThereStays) {
  AuditWriter::Options options = Options();
  options.max_size = 3000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  absl::Status status;
  for (int i = 0; i < 50 && status.ok(); ++i) {
    std::vector<AuditEntry> entries = {Entry()};
    status = writer.Append(entries, kNow);
  }
  EXPECT_EQ(ReasonOf(status), Reason::kStoreFull);
  EXPECT_FALSE(Check(writer.head()).first_broken.has_value());
}

TEST_F(AuditFiles, StartedAfterALongTime_WhatIsTooOldGoes) {
  AuditWriter::Options options = Options();
  options.retention = absl::Hours(24 * 30);
  options.file_size = 2000;
  {
    AuditWriter writer(options);
    ASSERT_TRUE(writer.Open(kNow).ok());
    for (int i = 0; i < 30; ++i) Append(writer, 1);
  }
  const size_t before = ListAuditFiles(options.directory).size();
  ASSERT_GE(before, 4u);
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow + absl::Hours(24 * 60)).ok());
  EXPECT_LT(ListAuditFiles(options.directory).size(), before);
  EXPECT_TRUE(Check(writer.head()).problems.empty());
}

TEST_F(AuditFiles, ClockWasAheadOnce_OldFilesStillGo) {
  AuditWriter::Options options = Options();
  options.retention = absl::Hours(24 * 30);
  AuditWriter writer(options);
  absl::Time now = kNow;
  ASSERT_TRUE(writer.Open(now).ok());
  Append(writer, 1, now + absl::Hours(24 * 3650));
  for (int week = 0; week < 20; ++week, now += absl::Hours(24 * 7)) {
    AuditWriter again(options);  // which the file's period is measured from anew
    ASSERT_TRUE(again.Open(now).ok());
    std::vector<AuditEntry> entries(100, Entry());
    options.file_size = 2000;
    ASSERT_TRUE(again.Append(entries, now).ok());
  }
  const std::vector<AuditFile> files = ListAuditFiles(options.directory);
  EXPECT_GT(files[0].first_sequence, 300u);
  AuditWriter last(options);
  ASSERT_TRUE(last.Open(now).ok());
  EXPECT_TRUE(Check(last.head()).problems.empty());
}

TEST_F(AuditFiles, DamagedInTheMiddle_NoNumberIsGivenTwice) {
  AuditHead head;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 9);
    head = writer.head();
  }
  WriteFile(OnlyFile(), absl::StrReplaceAll(ReadFile(OnlyFile()), {{"\"seq\":3,", "\"seq\"\n3,"}}));
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  EXPECT_EQ(writer.head().sequence, head.sequence + 1) << "the new file's line";
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.first_broken, absl::optional<uint64_t>(3));
  for (const std::string& problem : found.problems) {
    EXPECT_FALSE(absl::StrContains(problem, "does not follow")) << problem;
  }
}

TEST_F(AuditFiles, SizeLimitIsReachedAndOldFilesAreMovedAway_IsWrittenAgain) {
  AuditWriter::Options options = Options();
  options.max_size = 5000;
  options.file_size = 2000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  std::vector<AuditEntry> entries = {Entry()};
  while (writer.Append(entries, kNow).ok()) {
  }
  ASSERT_EQ(unlink(OnlyFile().c_str()), 0);
  EXPECT_TRUE(writer.Append(entries, kNow).ok());
}

TEST_F(AuditFiles, DiskDoesNotKeepWhatWasWritten_ANewFileBeginsAndSaysSo) {
  AuditWriter::Options options = Options();
  int failures = 0;
  options.sync = [&](int) {
    errno = EIO;
    return failures-- > 0 ? -1 : 0;
  };
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 2);
  ASSERT_TRUE(writer.Sync().ok());
  Append(writer, 1);
  failures = 2;
  EXPECT_FALSE(writer.Sync().ok());
  Append(writer, 1);
  EXPECT_EQ(writer.head().sequence, 6u);
  EXPECT_FALSE(writer.Sync().ok());
  EXPECT_EQ(ListAuditFiles(options.directory).size(), 1u) << "of which nothing was kept";
  Append(writer, 1);
  EXPECT_TRUE(writer.Sync().ok());
  EXPECT_EQ(writer.head().sequence, 6u);
  EXPECT_EQ(ListAuditFiles(options.directory).size(), 2u);
  const AuditVerification found = Check(writer.head());
  EXPECT_FALSE(found.first_broken.has_value());
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_TRUE(absl::StrContains(found.problems[0], "after damage"));
}

TEST_F(AuditFiles, FileIsRemovedMovedOrWrittenUnderTheWriter_IsNoticed) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  const auto newest = [&] { return ListAuditFiles(Options().directory).back().path; };
  const auto harms = {
      +[](const std::string& path) { EXPECT_EQ(unlink(path.c_str()), 0); },
      +[](const std::string& path) { EXPECT_EQ(rename(path.c_str(), (path + ".old").c_str()), 0); },
      +[](const std::string& path) { std::ofstream(path, std::ios::app) << "mine"; },
  };
  for (const auto harm : harms) {
    Append(writer, 1);
    ASSERT_TRUE(writer.Sync().ok());
    const AuditHead head = writer.head();
    harm(newest());
    EXPECT_FALSE(writer.Sync().ok());
    Append(writer, 1);
    EXPECT_TRUE(writer.Sync().ok());
    EXPECT_EQ(writer.head().sequence, head.sequence + 2) << "after the new file's line";
    EXPECT_TRUE(absl::StrContains(ReadFile(newest()), "after_damage"));
  }
}

TEST_F(AuditFiles, NewestFileIsOnlyZeros_IsPutAsideAndSaid) {
  AuditHead head;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 2);
    head = writer.head();
  }
  const std::string path = dir_.File("audit") + "/audit-00000000000000000004.log";
  for (const std::string& text : {std::string(100, '\0'), std::string(5000, 'x')}) {
    WriteFile(path, text);
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    EXPECT_EQ(writer.head().sequence, head.sequence + 1);
    EXPECT_TRUE(absl::StrContains(ReadFile(path), "after_damage"));
    const AuditVerification found = Check(writer.head());
    EXPECT_FALSE(found.first_broken.has_value());
    EXPECT_EQ(found.problems.size(), 1u);
    unlink(path.c_str());
  }
  EXPECT_EQ(ReadFile(path + ".damaged"), std::string(100, '\0'));
  EXPECT_EQ(ReadFile(path + ".damaged2"), std::string(5000, 'x'));
}

}  // namespace
}  // namespace smartkey
