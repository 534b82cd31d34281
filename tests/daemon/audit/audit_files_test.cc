// SPDX-License-Identifier: Apache-2.0
// The lines and files of the audit log, how their end is found again, and what a check of them
// finds.
#include <gtest/gtest.h>
#include <sys/stat.h>

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
    auto found = CheckAuditFiles(Options().directory, written, anchor);
    EXPECT_TRUE(found.ok()) << found.status();
    return *found;
  }
  std::string OnlyFile() const { return ListAuditFiles(Options().directory).at(0).path; }

  TempDir dir_;
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
  EXPECT_GE(files.size(), kept) << "one began, one at most went";
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

}  // namespace
}  // namespace smartkey
