// SPDX-License-Identifier: Apache-2.0
// What a check of the audit log's files finds.
#include "daemon/audit/audit_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/base64url.h"
#include "base/json.h"
#include "daemon/audit/audit_line.h"
#include "daemon/jose/jwk.h"
#include "tests/daemon/audit/audit_files_fixture.h"
#include "tests/fakes/software_key.h"

namespace smartkey {
namespace {

class AuditFilesChecked : public AuditFiles {};

AuditEntry Checkpoint(const AuditHead& head, const SoftwareKey& key,
                      SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256) {
  AuditEntry entry = MakeAuditEntry(nullptr, kAuditCheckpoint, "", Reason::kUnspecified, kNow);
  entry.facts = {{kCheckpointHead, head.ToString()},
                 {kCheckpointAlgorithm, std::string(AlgorithmName(algorithm))},
                 {kCheckpointKey, ToJsonText(ToJwk(key.public_key(), algorithm))},
                 {kCheckpointSignature, Base64UrlEncode(key.Sign(CheckpointText(head)))}};
  return entry;
}

TEST_F(AuditFilesChecked, LineWasChanged_IsFoundAndStaysAsItIs) {
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

TEST_F(AuditFilesChecked, ALineIsTakenOutOrPutIn_TheCheckNamesItsPlace) {
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

TEST_F(AuditFilesChecked, EndIsCutOff_IsSeenByTheOneWhoWroteIt) {
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

TEST_F(AuditFilesChecked, EndIsCutOffOverARestart_IsSeenWithAnAnchor) {
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

TEST_F(AuditFilesChecked, WholeFileIsTakenOut_TheNextOneShowsIt) {
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

TEST_F(AuditFilesChecked, CheckpointIsSigned_IsVerifiedAndItsKeyIsNamed) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 3);
  const AuditHead head = writer.head();
  Append(writer, 1);  // what came while it was signed
  std::vector<AuditEntry> entries = {Checkpoint(head, key)};
  ASSERT_TRUE(writer.Append(entries, kNow).ok());
  EXPECT_EQ(Check(writer.head()).signed_sequence, 0u) << "which key signs here is not known";
  key_ = JwkThumbprint(key.public_key());
  const AuditVerification found = Check(writer.head());
  EXPECT_EQ(found.signed_checkpoints, 1u);
  EXPECT_EQ(found.signed_sequence, head.sequence);
  ASSERT_EQ(found.key_thumbprints.size(), 1u);
  EXPECT_EQ(found.key_thumbprints[0], JwkThumbprint(key.public_key()));
  EXPECT_TRUE(found.problems.empty());
}

TEST_F(AuditFilesChecked, LogIsWrittenAnewWithItsOldCheckpoints_NoneOfThemFits) {
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

TEST_F(AuditFilesChecked, SignatureIsWrong_IsSaid) {
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

TEST_F(AuditFilesChecked, OldFileIsRemovedByHand_TheCheckSaysThatRetentionDidNot) {
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

TEST_F(AuditFilesChecked, MoreIsRemovedThanRetentionDid_IsSaid) {
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

TEST_F(AuditFilesChecked, CheckpointIsAboutTheFileThatRetentionTook_IsNoAlarm) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  key_ = JwkThumbprint(key.public_key());
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

TEST_F(AuditFilesChecked, OldLineIsDamaged_TheRestIsStillChecked) {
  const SoftwareKey key = SoftwareKey::Generate(SignatureAlgorithm::kEs256);
  key_ = JwkThumbprint(key.public_key());
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

TEST_F(AuditFilesChecked, LineIsLongerThanAnyOrAFileIsUnreadable_IsAFindingAndTheRestIsChecked) {
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

TEST_F(AuditFilesChecked, ManyLinesAreDamaged_NotEachIsSaid) {
  AuditWriter writer(Options());
  ASSERT_TRUE(writer.Open(kNow).ok());
  Append(writer, 50);
  WriteFile(OnlyFile(), absl::StrReplaceAll(ReadFile(OnlyFile()), {{"mercy", ""}, {"pid", "pod"}}));
  EXPECT_LE(Check(writer.head()).problems.size(), 20u);
}

TEST_F(AuditFilesChecked, LogIsWrittenAnewAndSignedByAnotherKey_IsSaid) {
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
