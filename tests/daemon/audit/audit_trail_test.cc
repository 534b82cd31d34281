// SPDX-License-Identifier: Apache-2.0
// What is written, what is lost and what is refused.
#include "daemon/audit/audit_trail.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/audit/audit_key.h"
#include "daemon/audit/audit_line.h"
#include "tests/daemon/audit/audit_trail_fixture.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

TEST_F(AuditTrailTest, CallerBecameAnother_BothAreInTheLine) {
  AuditTrail trail(Options(), clock_);
  Caller caller = alice_;
  caller.login_uid = 1001;
  caller.login_name = "bob";
  caller.pid = 5;
  caller.system_unit = "viewer.service";
  caller.observed_executable = "/usr/bin/viewer";
  trail.Note(&caller, "SharingService/ShareRegistration", "reg-1",
             MakeError(Reason::kNotPermitted, "secret words"), {{"principal", "user:carol"}});
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].user->name, "alice");
  EXPECT_EQ(entries[0].login->name, "bob");
  EXPECT_EQ(entries[0].outcome, Reason::kNotPermitted);
  EXPECT_EQ(entries[0].facts, (AuditFacts{{"principal", "user:carol"}}));
  EXPECT_EQ(entries[0].executable, "/usr/bin/viewer");
  for (const std::string& line : AuditLines(dir_.File("audit"))) {
    EXPECT_FALSE(absl::StrContains(line, "secret words")) << "an error's text has no place there";
  }
}

TEST_F(AuditTrailTest, DirectoryCannotBeMade_GoesOnAndSaysSo) {
  WriteFile(dir_.File("audit"), "in the way");
  AuditTrail trail(Options(), clock_);
  trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  EXPECT_FALSE(trail.Flush(absl::Seconds(60)));
  EXPECT_FALSE(trail.condition().writing.ok());
  EXPECT_TRUE(trail.CheckWritable(alice_).ok()) << "on_full = \"warn\"";
}

TEST_F(AuditTrailTest, DiskComesBack_WhatWaitedIsWritten) {
  WriteFile(dir_.File("audit"), "in the way");
  AuditTrail::Options options = Options();
  options.deny_when_full = true;
  AuditTrail trail(options, clock_);
  Await([&] { return !trail.condition().writing.ok(); });
  EXPECT_EQ(ReasonOf(trail.CheckWritable(alice_)), Reason::kAuditUnavailable);
  trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  ASSERT_EQ(unlink(dir_.File("audit").c_str()), 0);
  Await([&] { return trail.condition().writing.ok() && trail.condition().waiting == 0; });
  EXPECT_TRUE(trail.CheckWritable(alice_).ok());
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].operation, "a");
}

TEST_F(AuditTrailTest, RefusedBecauseTheDiskFailedAtTheStart_HealsThoughNothingIsNoted) {
  WriteFile(dir_.File("audit"), "in the way");
  AuditTrail::Options options = Options();
  options.deny_when_full = true;
  AuditTrail trail(options, clock_);
  Await([&] { return !trail.CheckWritable(alice_).ok(); });
  ASSERT_EQ(unlink(dir_.File("audit").c_str()), 0);
  Await([&] { return trail.CheckWritable(alice_).ok(); });
}

TEST_F(AuditTrailTest, RingOverflows_HowManyAreLostIsWritten) {
  WriteFile(dir_.File("audit"), "in the way");
  AuditTrail::Options options = Options();
  options.ring = 10;
  AuditTrail trail(options, clock_);
  Await([&] { return !trail.condition().writing.ok(); });
  for (int i = 0; i < 25; ++i) trail.Note(&alice_, absl::StrCat(i), "reg-1", absl::OkStatus(), {});
  EXPECT_EQ(trail.condition().lost, 15u);
  ASSERT_EQ(unlink(dir_.File("audit").c_str()), 0);
  Await([&] { return trail.condition().writing.ok() && trail.condition().waiting == 0; });
  uint64_t lost = 0;
  size_t others = 0;
  for (const AuditEntry& one : Read(trail)) {
    if (one.operation == "smartkeyd/audit-lost") {
      lost += one.repeats;
    } else {
      ++others;
    }
  }
  EXPECT_EQ(lost, 15u);
  EXPECT_EQ(others, 10u);
}

TEST_F(AuditTrailTest, ManyThreadsNote_EachLineIsThereAndTheChainFits) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 10000;
  AuditTrail trail(options, clock_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Read(trail).size(), 2000u);
  const AuditVerification found = Verify(trail);
  EXPECT_EQ(found.entries, 2001u);
  EXPECT_FALSE(found.first_broken.has_value());
}

TEST_F(AuditTrailTest, ReaderFollows_NewEntriesComeAsTheyAreWritten) {
  AuditTrail trail(Options(), clock_);
  AuditLog::Query query;
  query.follow = true;
  query.wanted = [](const AuditEntry& one) { return one.registration_id == "reg-1"; };
  const auto reading = trail.Read(query, [this] { Wake(); }).value();
  const auto next = [&]() -> AuditEntry {
    for (;;) {
      const auto entry = reading->Next();
      if (!entry.ok()) return AuditEntry();
      if (entry->has_value()) return **entry;
      AwaitWake();
    }
  };
  for (const char* operation : {"one", "two", "three"}) {
    trail.Note(&alice_, "of another", "reg-2", absl::OkStatus(), {});
    trail.Note(&alice_, operation, "reg-1", absl::OkStatus(), {});
    EXPECT_EQ(next().operation, operation);
  }
  reading->Stop();
  EXPECT_FALSE(reading->Next().ok());
}

TEST_F(AuditTrailTest, TooManyReaders_AreRefusedButNoAdministratorIs) {
  AuditTrail::Options options = Options();
  options.most_readers = 2;
  AuditTrail trail(options, clock_);
  AuditLog::Query query;
  query.follow = true;
  const auto first = trail.Read(query, [] {});
  {
    const auto second = trail.Read(query, [] {});
    EXPECT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(ReasonOf(trail.Read(query, [] {}).status()), Reason::kRateLimited);
    query.administrator = true;
    EXPECT_TRUE(trail.Read(query, [] {}).ok());
    query.administrator = false;
  }
  EXPECT_TRUE(trail.Read(query, [] {}).ok()) << "one has gone";
}

TEST_F(AuditTrailTest, DiskForgetsWhatItWasGiven_ItIsWrittenOnceMore) {
  AuditTrail::Options options = Options();
  std::atomic<int> failures{0};
  options.files.sync = [&](int) { return failures-- > 0 ? -1 : 0; };
  AuditTrail trail(options, clock_);
  trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  EXPECT_TRUE(trail.Flush(absl::Seconds(60)));
  failures = 1;
  trail.Note(&alice_, "b", "reg-1", absl::OkStatus(), {});
  EXPECT_FALSE(trail.Flush(absl::Seconds(60)));
  EXPECT_FALSE(trail.condition().writing.ok());
  Await([&] { return trail.condition().writing.ok() && trail.condition().waiting == 0; });
  EXPECT_EQ(trail.condition().lost, 0u);
  ASSERT_EQ(ListAuditFiles(dir_.File("audit")).size(), 2u);
  EXPECT_TRUE(
      absl::StrContains(ReadFile(ListAuditFiles(dir_.File("audit"))[1].path), "\"op\":\"b\""));
}

TEST_F(AuditTrailTest, DiskIsAwayAndMuchIsNoted_ItIsNotTriedForEach) {
  AuditTrail::Options options = Options();
  std::atomic<int> tries{0};
  options.files.sync = [&](int) { return ++tries > 0 ? -1 : 0; };
  options.lines_per_user = 100000;
  AuditTrail trail(options, clock_);
  Await([&] { return !trail.condition().writing.ok(); });
  for (int i = 0; i < 5000; ++i) trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  EXPECT_LT(tries, 1000);
}

TEST_F(AuditTrailTest, OneUserReadsVeryOften_OthersStillCan) {
  AuditTrail trail(Options(), clock_);
  AuditLog::Query query;
  query.follow = true;
  query.uid = 1000;
  std::vector<std::shared_ptr<AuditLog::Reading>> kept;
  for (int i = 0; i < 4; ++i) kept.push_back(trail.Read(query, [] {}).value());
  EXPECT_EQ(ReasonOf(trail.Read(query, [] {}).status()), Reason::kRateLimited);
  query.uid = 1001;
  EXPECT_TRUE(trail.Read(query, [] {}).ok());
  query.uid = 1000;
  query.administrator = true;
  EXPECT_TRUE(trail.Read(query, [] {}).ok());
}

TEST_F(AuditTrailTest, OnlyOneRegistrationIsReadAndAFileCannotBe_TheOthersAre) {
  AuditTrail::Options options = Options();
  options.files.file_size = 100;  // a batch each
  AuditTrail trail(options, clock_);
  for (const char* id : {"reg-1", "reg-\"2", "reg-1"}) {
    trail.Note(&alice_, "a", id, absl::OkStatus(), {});
    EXPECT_TRUE(trail.Flush(absl::Seconds(60)));
  }
  const std::string first = ListAuditFiles(dir_.File("audit")).at(1).path;
  ASSERT_EQ(rename(first.c_str(), (first + ".old").c_str()), 0);
  ASSERT_EQ(symlink((first + ".old").c_str(), first.c_str()), 0);
  AuditLog::Query query;
  const auto count = [&](const std::string& id) {
    query.registration_id = id;
    query.wanted = [id](const AuditEntry& one) { return one.registration_id == id; };
    return Read(trail, query).size();
  };
  EXPECT_EQ(count("reg-\"2"), 1u);
  EXPECT_EQ(count("reg-1"), 1u) << "the other one is in the file that is no file";
}

TEST_F(AuditTrailTest, WhoAskedForACheckGoes_ItEndsBeforeTheNextFile) {
  AuditTrail::Options options = Options();
  options.files.file_size = 100;  // a batch each
  AuditTrail trail(options, clock_);
  for (int i = 0; i < 4; ++i) {
    trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
    ASSERT_TRUE(trail.Flush(absl::Seconds(60)));
  }
  int asked = 0;
  EXPECT_EQ(ReasonOf(VerifyWhile(trail, [&] { return ++asked < 3; }).status()), Reason::kCancelled);
  EXPECT_EQ(asked, 3);
  EXPECT_GE(Verify(trail).entries, 4u) << "the next one is not touched by it";
}

// ---- checkpoints

// Where heads are sent to.
struct Published {
  absl::Status Take(const AuditHead& head, const std::string& thumbprint) {
    MutexLock lock(mu);
    heads.emplace_back(head, thumbprint);
    return outcome;
  }
  std::vector<std::pair<AuditHead, std::string>> All() {
    MutexLock lock(mu);
    return heads;
  }
  Mutex mu;
  std::vector<std::pair<AuditHead, std::string>> heads ABSL_GUARDED_BY(mu);
  absl::Status outcome;
};

TEST_F(AuditTrailTest, StartsAndEnds_TheHeadIsSentOutEachTime) {
  Published published;
  AuditTrail::Options options = Options();
  options.publish = [&](const AuditHead& head, const std::string& key) {
    return published.Take(head, key);
  };
  const LogLevel level = GetLogLevel();
  SetLogLevel(LogLevel::kError);  // which has no part in it
  {
    AuditTrail trail(options, clock_);
    trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
    EXPECT_TRUE(trail.Flush(absl::Seconds(60)));
    ASSERT_GE(published.All().size(), 2u);
    EXPECT_EQ(published.All()[0].first.sequence, 1u);
    EXPECT_TRUE(published.All().back().first == trail.condition().head);
    EXPECT_EQ(published.All().back().second, "none");
    trail.Note(&alice_, "b", "reg-1", absl::OkStatus(), {});
  }
  SetLogLevel(level);
  EXPECT_EQ(published.All().back().first.sequence, 3u);
}

TEST_F(AuditTrailTest, HeadCannotBeSentOut_IsTheCheckpointsErrorAndItIsTriedAgain) {
  Published published;
  published.outcome = MakeError(Reason::kStoreUnavailable, "no journal");
  AuditTrail::Options options = Options();
  options.checkpoint_every = absl::Milliseconds(50);
  options.publish = [&](const AuditHead& head, const std::string& key) {
    return published.Take(head, key);
  };
  FakeKeyService keys;
  TimerThread scheduler(clock_);
  AuditKey key(keys, scheduler, key_log_, dir_.File(""), "label");
  AuditTrail trail(options, clock_);
  trail.SignWith(key);
  const auto sent = [&] {
    size_t count = 0;
    for (const auto& one : published.All()) count += one.second != "none";
    return count;
  };
  Await([&] { return sent() >= 2; });
  EXPECT_EQ(ReasonOf(trail.condition().signing), Reason::kStoreUnavailable);
}

TEST_F(AuditTrailTest, HardwareDoesNotAnswer_LinesStayUncovered) {
  FakeKeyService keys;
  keys.set_hold(true);
  TimerThread scheduler(clock_);
  AuditKey key(keys, scheduler, key_log_, dir_.File(""), "label");
  AuditTrail::Options options = Options();
  options.checkpoint_every = absl::Milliseconds(50);
  AuditTrail trail(options, clock_);
  trail.SignWith(key);
  trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  Await([&] { return keys.held() > 0 && trail.condition().uncovered_since.has_value(); });
  EXPECT_FALSE(trail.condition().checkpoint.has_value());
  keys.set_hold(false);
  keys.ReleaseAll();
  Await([&] { return trail.condition().checkpoint.has_value(); });
  Await([&] { return !trail.condition().uncovered_since.has_value(); });
}

TEST_F(AuditTrailTest, QuarterOfAnHourHasPassed_AHardwareKeySignsTheHead) {
  FakeKeyService keys;
  TimerThread scheduler(clock_);
  AuditKey key(keys, scheduler, key_log_, dir_.File(""), "smartkeyd:instance:audit:1");
  AuditTrail::Options options = Options();
  options.checkpoint_every = absl::Milliseconds(50);
  std::string thumbprint;
  {
    AuditTrail trail(options, clock_);
    trail.SignWith(key);
    trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
    Await([&] {
      const AuditCondition condition = trail.condition();
      return condition.checkpoint.has_value() && condition.signing.ok();
    });
    const AuditVerification found = Verify(trail);
    EXPECT_GE(found.signed_checkpoints, 1u);
    EXPECT_GE(found.signed_sequence, 2u);
    ASSERT_EQ(found.key_thumbprints.size(), 1u);
    thumbprint = found.key_thumbprints[0];
  }
  // The key is found again, not made anew.
  AuditKey again(keys, scheduler, key_log_, dir_.File(""), "smartkeyd:instance:audit:1");
  AuditTrail trail(options, clock_);
  trail.SignWith(again);
  trail.Note(&alice_, "b", "reg-1", absl::OkStatus(), {});
  trail.Note(&alice_, "c", "reg-1", absl::OkStatus(), {});
  Await([&] { return trail.condition().checkpoint.has_value(); });
  EXPECT_EQ(Verify(trail).key_thumbprints, std::vector<std::string>{thumbprint});
}

TEST_F(AuditTrailTest, HardwareIsAway_TheHeadIsNotedWithoutASignature) {
  AuditTrail::Options options = Options();
  options.checkpoint_every = absl::Milliseconds(50);
  AuditTrail trail(options, clock_);
  trail.Note(&alice_, "a", "reg-1", absl::OkStatus(), {});
  Await([&] { return trail.condition().checkpoint.has_value(); });
  EXPECT_EQ(ReasonOf(trail.condition().signing), Reason::kHardwareAbsent);
}

}  // namespace
}  // namespace smartkey
