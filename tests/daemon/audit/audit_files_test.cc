// SPDX-License-Identifier: Apache-2.0
// The lines and files of the audit log, how their end is found again, and what a check of them
// finds.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/base64url.h"
#include "base/json.h"
#include "daemon/audit/audit_check.h"
#include "daemon/audit/audit_line.h"
#include "daemon/jose/jwk.h"
#include "tests/daemon/audit/audit_samples.h"
#include "tests/fakes/software_key.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

AuditEntry Entry(const std::string& registration = "reg-1") {
  AuditEntry entry;
  entry.time = kNow;
  entry.user = AuditEntry::User{1000, "alice"};
  entry.login = AuditEntry::User{1001, "bob"};
  entry.pid = 77;
  entry.unit = "viewer.service";
  entry.executable = "/usr/bin/viewer \"x\"\n";
  entry.admin = true;
  entry.operation = "TokenService/GetAccessToken";
  entry.registration_id = registration;
  entry.outcome = Reason::kShareLacksScope;
  entry.repeats = 3;
  entry.facts = {{"token", "h\xc3\xa4sh"}};
  return entry;
}

class AuditFiles : public testing::Test {
 protected:
  AuditWriter::Options Options() const {
    AuditWriter::Options options;
    options.directory = dir_.File("audit");
    return options;
  }
  void Append(AuditWriter& writer, int count, absl::Time now = kNow) {
    std::vector<AuditEntry> entries(static_cast<size_t>(count), Entry());
    const absl::Status status = writer.Append(entries, now);
    ASSERT_TRUE(status.ok()) << status;
  }
  AuditVerification Check(const AuditHead& written,
                          const absl::optional<AuditHead>& anchor = absl::nullopt) {
    auto found = CheckAuditFiles(Options().directory, {written, anchor, key_});
    EXPECT_TRUE(found.ok()) << found.status();
    return *found;
  }
  std::string OnlyFile() const { return ListAuditFiles(Options().directory).at(0).path; }

  TempDir dir_;
  absl::optional<std::string> key_;  // that signs now
};

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

TEST_F(AuditFiles, LineWasChanged_IsFoundAndStaysAsItIs) {
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 3);
  }
  const std::string changed =
      absl::StrReplaceAll(ReadFile(OnlyFile()), {{"\"seq\":3", "\"seq\":8"}});
  WriteFile(OnlyFile(), changed);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 1);
  const std::vector<AuditFile> files = ListAuditFiles(Options().directory);
  ASSERT_EQ(files.size(), 2u) << "a new file begins";
  EXPECT_EQ(ReadFile(files[0].path), changed);
  const AuditVerification found = Check(writer.head());
  ASSERT_TRUE(found.first_broken.has_value());
  EXPECT_EQ(*found.first_broken, 3u);
  EXPECT_EQ(found.entries, 2u);
}

TEST_F(AuditFiles, ALineIsTakenOutOrPutIn_TheCheckNamesItsPlace) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 5);
  const std::vector<std::string> lines = AuditLines(Options().directory);
  std::string without, twice;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i != 2) without += lines[i] + "\n";
    twice += lines[i] + "\n";
    if (i == 3) twice += lines[i] + "\n";
  }
  WriteFile(OnlyFile(), without);
  EXPECT_EQ(Check(writer.head()).first_broken, absl::optional<uint64_t>(3));
  WriteFile(OnlyFile(), twice);
  EXPECT_EQ(Check(writer.head()).first_broken, absl::optional<uint64_t>(5));
}

TEST_F(AuditFiles, EndIsCutOff_IsSeenByTheOneWhoWroteIt) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 5);
  std::string text = ReadFile(OnlyFile());
  text.resize(text.rfind('\n', text.size() - 2) + 1);
  WriteFile(OnlyFile(), text);
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.first_broken, absl::optional<uint64_t>(6));
  EXPECT_FALSE(found.problems.empty());
}

TEST_F(AuditFiles, EndIsCutOffOverARestart_IsSeenWithAnAnchor) {
  AuditHead anchor, left;
  {
    AuditWriter writer(Options());
    ASSERT_TRUE(writer.Open(kNow).ok());
    Append(writer, 3);
    left = writer.head();
    Append(writer, 2);
    anchor = writer.head();
  }
  EXPECT_EQ(Check(anchor, anchor).anchored_sequence, anchor.sequence);
  std::string text;
  const std::vector<std::string> lines = AuditLines(Options().directory);
  for (size_t i = 0; i < left.sequence; ++i) text += lines[i] + "\n";
  WriteFile(OnlyFile(), text);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  AuditVerification found = Check(writer.head(), anchor);
  EXPECT_FALSE(found.first_broken.has_value()) << "the chain itself cannot show it";
  EXPECT_EQ(found.anchored_sequence, 0u);
  ASSERT_EQ(found.problems.size(), 1u);

  std::vector<AuditEntry> others(4, Entry("reg-2"));  // in the place of those that are gone
  ASSERT_TRUE(writer.Append(others, kNow).ok());
  found = Check(writer.head(), anchor);
  EXPECT_EQ(found.anchored_sequence, 0u);
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_TRUE(absl::StrContains(found.problems[0], "not the one of the anchor"));
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

TEST_F(AuditFiles, WholeFileIsTakenOut_TheNextOneShowsIt) {
  AuditWriter::Options options = Options();
  options.file_size = 2000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  for (int i = 0; i < 20; ++i) Append(writer, 1);
  const std::vector<AuditFile> files = ListAuditFiles(options.directory);
  ASSERT_GT(files.size(), 2u);
  ASSERT_EQ(unlink(files[1].path.c_str()), 0);
  EXPECT_EQ(Check(writer.head()).first_broken, absl::optional<uint64_t>(files[1].first_sequence));
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

// ---- checkpoints

AuditEntry Checkpoint(const AuditHead& head, const SoftwareKey& key,
                      SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256) {
  AuditEntry entry = MakeAuditEntry(nullptr, kAuditCheckpoint, "", Reason::kUnspecified, kNow);
  entry.facts = {{kCheckpointHead, head.ToString()},
                 {kCheckpointAlgorithm, std::string(AlgorithmName(algorithm))},
                 {kCheckpointKey, ToJsonText(ToJwk(key.public_key(), algorithm))},
                 {kCheckpointSignature, Base64UrlEncode(key.Sign(CheckpointText(head)))}};
  return entry;
}

TEST_F(AuditFiles, CheckpointIsSigned_IsVerifiedAndItsKeyIsNamed) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 3);
  const AuditHead head = writer.head();
  Append(writer, 1);  // what came while it was signed
  std::vector<AuditEntry> entries = {Checkpoint(head, key)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.signed_checkpoints, 1u);
  EXPECT_EQ(found.signed_sequence, head.sequence);
  ASSERT_EQ(found.key_thumbprints.size(), 1u);
  EXPECT_EQ(found.key_thumbprints[0], JwkThumbprint(key.public_key()));
  EXPECT_TRUE(found.problems.empty());
}

TEST_F(AuditFiles, LogIsWrittenAnewWithItsOldCheckpoints_NoneOfThemFits) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditHead other;
  other.sequence = 2;
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 3);
  std::vector<AuditEntry> entries = {Checkpoint(other, key)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.signed_checkpoints, 0u);
  EXPECT_EQ(found.problems.size(), 1u);
}

TEST_F(AuditFiles, SignatureIsWrong_IsSaid) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  const SoftwareKey another = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 1);
  AuditEntry forged = Checkpoint(writer.head(), key);
  forged.facts[2].second = ToJsonText(ToJwk(another.public_key(), SignatureAlgorithm::kEs256));
  std::vector<AuditEntry> entries = {forged};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.signed_sequence, 0u);
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_TRUE(absl::StrContains(found.problems[0], "signature"));
}

// ---- what was harmed, and what has become too old

TEST_F(AuditFiles, OldFileIsRemovedByHand_TheCheckSaysThatRetentionDidNot) {
  AuditWriter::Options options = Options();
  options.file_size = 2000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  for (int i = 0; i < 20; ++i) Append(writer, 1);
  const std::vector<AuditFile> files = ListAuditFiles(options.directory);
  ASSERT_GT(files.size(), 2u);
  for (size_t i = 0; i + 1 < files.size(); ++i) {
    ASSERT_EQ(unlink(files[i].path.c_str()), 0);
    const AuditVerification found = Check(writer.head());
    ASSERT_FALSE(found.problems.empty());
    EXPECT_TRUE(absl::StrContains(found.problems[0], "retention did not remove")) << i;
  }
}

TEST_F(AuditFiles, MoreIsRemovedThanRetentionDid_IsSaid) {
  AuditWriter::Options options = Options();
  options.retention = absl::Hours(24 * 30);
  AuditWriter writer(options);
  absl::Time now = kNow;
  ASSERT_TRUE(writer.Open(now).ok());
  for (int week = 0; week < 12; ++week, now += absl::Hours(24 * 7)) Append(writer, 2, now);
  EXPECT_TRUE(Check(writer.head()).problems.empty());
  ASSERT_EQ(unlink(OnlyFile().c_str()), 0);
  ASSERT_EQ(Check(writer.head()).problems.size(), 1u);
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

TEST_F(AuditFiles, CheckpointIsAboutTheFileThatRetentionTook_IsNoAlarm) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter::Options options = Options();
  options.retention = absl::Hours(24 * 8);
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 3);
  const AuditHead inside = {2, AuditLines(options.directory).at(1).substr(0, 64)};
  const AuditHead last = writer.head();
  absl::Time now = kNow + absl::Hours(24 * 7);
  std::vector<AuditEntry> entries = {Checkpoint(inside, key), Checkpoint(last, key)};
  ASSERT_TRUE(writer.Append(entries, now).ok());
  EXPECT_EQ(Check(writer.head()).signed_checkpoints, 2u);
  for (int week = 0; week < 2; ++week) Append(writer, 1, now += absl::Hours(24 * 7));
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.first_sequence, last.sequence + 1);
  EXPECT_TRUE(found.problems.empty()) << found.problems.at(0);
  EXPECT_EQ(found.signed_sequence, last.sequence) << "the head before the oldest line is known";
}

TEST_F(AuditFiles, OldLineIsDamaged_TheRestIsStillChecked) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 5);
  std::vector<AuditEntry> entries = {Checkpoint(writer.head(), key)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  std::string text = ReadFile(OnlyFile());
  text[text.find("\"seq\":2") - 10] ^= 1;
  WriteFile(OnlyFile(), text);
  AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.first_broken, absl::optional<uint64_t>(2));
  EXPECT_EQ(found.signed_checkpoints, 1u);
  EXPECT_EQ(found.signed_sequence, 0u) << "not all before it is as it was";
  const size_t problems = found.problems.size();

  text.resize(text.rfind('\n', text.size() - 2) + 1);
  WriteFile(OnlyFile(), text);
  found = Check(writer.head(), AuditHead{4, std::string(64, 'a')});
  ASSERT_EQ(found.problems.size(), problems + 2);
  EXPECT_TRUE(absl::StrContains(found.problems[problems], "not the one of the anchor"));
  EXPECT_TRUE(absl::StrContains(found.problems[problems + 1], "the files end at entry"));
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

TEST_F(AuditFiles, LineIsLongerThanAnyOrAFileIsUnreadable_IsAFindingAndTheRestIsChecked) {
  AuditWriter::Options options = Options();
  options.file_size = 2000;
  AuditWriter writer(options);
  ASSERT_TRUE(writer.Open(kNow).ok());
  for (int i = 0; i < 12; ++i) Append(writer, 1);
  const std::vector<AuditFile> files = ListAuditFiles(options.directory);
  ASSERT_GT(files.size(), 2u);
  const std::string whole = ReadFile(files[0].path);
  WriteFile(files[0].path, whole + std::string(3 << 20, 'x') + "\n");
  AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.first_broken, absl::optional<uint64_t>(files[1].first_sequence));
  EXPECT_EQ(found.problems.size(), 1u);

  WriteFile(files[0].path, whole);
  ASSERT_EQ(unlink(files[1].path.c_str()), 0);
  ASSERT_EQ(symlink("/nowhere", files[1].path.c_str()), 0);  // which is not followed
  found = Check(writer.head());
  EXPECT_EQ(found.first_broken, absl::optional<uint64_t>(files[1].first_sequence));
  ASSERT_FALSE(found.problems.empty());
  EXPECT_TRUE(absl::StrContains(found.problems[0], "cannot be read"));
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

TEST_F(AuditFiles, ManyLinesAreDamaged_NotEachIsSaid) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 50);
  WriteFile(OnlyFile(), absl::StrReplaceAll(ReadFile(OnlyFile()), {{"mercy", ""}, {"pid", "pod"}}));
  EXPECT_LE(Check(writer.head()).problems.size(), 20u);
}

TEST_F(AuditFiles, LogIsWrittenAnewAndSignedByAnotherKey_IsSaid) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  const SoftwareKey forger = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 3);
  std::vector<AuditEntry> entries = {Checkpoint(writer.head(), forger)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  EXPECT_TRUE(Check(writer.head()).problems.empty()) << "it is not known who signs";
  key_ = JwkThumbprint(key.public_key());
  AuditVerification found = Check(writer.head());
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_TRUE(absl::StrContains(found.problems[0], "not by the key that signs here"));
  EXPECT_EQ(found.signed_sequence, 0u);
  // The key was replaced: the newest one counts.
  entries = {Checkpoint(writer.head(), key)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  found = Check(writer.head());
  EXPECT_TRUE(found.problems.empty());
  EXPECT_EQ(found.key_thumbprints.size(), 2u);
}

}  // namespace
}  // namespace smartkey
