// SPDX-License-Identifier: Apache-2.0
// What is a line, what is only counted, and with whose lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "daemon/audit/audit_line.h"
#include "tests/daemon/audit/audit_trail_fixture.h"

namespace smartkey {
namespace {

TEST_F(AuditTrailTest, TokenIsDeliveredAgain_IsCountedAndSummedUp) {
  AuditTrail trail(Options(), clock_);
  for (int i = 0; i < 5; ++i) trail.NoteDelivery(alice_, "reg-1", "hash-1");
  trail.NoteDelivery(bob_, "reg-1", "hash-1");          // another user
  trail.NoteDelivery(alice_, "reg-1", "hash-2");        // another token
  const std::vector<AuditEntry> entries = Read(trail);  // which sums up
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].repeats, 0u);
  EXPECT_EQ(entries[1].user->name, "bob");
  EXPECT_EQ(entries[2].facts, (AuditFacts{{"token", "hash-2"}}));
  EXPECT_EQ(entries[3].repeats, 4u);
  EXPECT_EQ(entries[3].user->name, "alice");
  EXPECT_EQ(entries[3].facts, (AuditFacts{{"token", "hash-1"}}));
}

TEST_F(AuditTrailTest, RefusedAgainAndAgain_IsOneLineForEachReason) {
  AuditTrail trail(Options(), clock_);
  for (int i = 0; i < 1000; ++i) {
    trail.NoteRefusal(bob_, "access/token", "reg-1", RegistrationNotFound());
    trail.NoteRefusal(bob_, "access/manage", "reg-1", MakeError(Reason::kNotPermitted, "no"));
  }
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].outcome, Reason::kRegistrationNotFound);
  EXPECT_EQ(entries[1].outcome, Reason::kNotPermitted);
  EXPECT_EQ(entries[2].repeats, 999u);
  EXPECT_EQ(entries[3].repeats, 999u);
}

TEST_F(AuditTrailTest, ProgramIsRunFromManyPlaces_MakesNoMoreLines) {
  AuditTrail trail(Options(), clock_);
  for (int i = 0; i < 500; ++i) {
    Caller caller = bob_;
    caller.observed_executable = absl::StrCat("/tmp/", i);
    caller.pid = 100 + i;
    trail.NoteDelivery(caller, "reg-1", "hash");
  }
  EXPECT_EQ(Read(trail).size(), 2u);
}

TEST_F(AuditTrailTest, TooManyToBeCounted_NoneIsLost) {
  AuditTrail::Options options = Options();
  options.most_repeated = 10;
  AuditTrail trail(options, clock_);
  uint64_t deliveries = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 25; ++i, ++deliveries) {
      trail.NoteDelivery(alice_, absl::StrCat("reg-", i), "hash");
    }
  }
  uint64_t written = 0;
  for (const AuditEntry& one : Read(trail)) written += one.repeats > 0 ? one.repeats : 1;
  EXPECT_EQ(written, deliveries);
}

TEST_F(AuditTrailTest, FactsAreLong_AreCut) {
  AuditTrail trail(Options(), clock_);
  const std::string umlauts = absl::StrReplaceAll(std::string(300, 'x'), {{"x", "\xc3\xa4"}});
  trail.Note(&alice_, "a", std::string(10000, 'r'), absl::OkStatus(),
             {{"one", std::string(10000, 'x')}, {"two", "x" + umlauts}, {"three", "short"}});
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].registration_id.size(), 256u);
  EXPECT_EQ(FactOf(entries[0], "one").size(), 256u);
  EXPECT_EQ(FactOf(entries[0], "two").size(), 255u) << "no half of a character";
  EXPECT_EQ(FactOf(entries[0], "three"), "short");
}

TEST_F(AuditTrailTest, UserMakesVeryManyLines_AllAreCountedAndOthersAreWritten) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 10;
  AuditTrail trail(options, clock_);
  for (int i = 0; i < 100; ++i) {
    trail.Note(&bob_, "a", absl::StrCat(i), absl::OkStatus(), {});
    trail.NoteRefusal(bob_, "access/token", absl::StrCat(i), RegistrationNotFound());
    trail.NoteDelivery(bob_, absl::StrCat(i), "hash");
  }
  for (int i = 0; i < 5; ++i) trail.Note(&alice_, "b", "reg-1", absl::OkStatus(), {});
  const Caller administrator = Administrator();
  for (int i = 0; i < 50; ++i) trail.Note(&administrator, "c", "", absl::OkStatus(), {});
  for (int i = 0; i < 50; ++i) trail.Note(nullptr, "d", "", absl::OkStatus(), {});
  size_t his = 0, summed = 0, counted = 0, others = 0;
  for (const AuditEntry& one : Read(trail)) {
    if (one.operation == "smartkeyd/audit-counted") {
      EXPECT_EQ(one.user->name, "bob");
      counted += one.repeats;
    } else if (one.repeats > 0) {
      EXPECT_EQ(one.user->name, "bob");
      summed += one.repeats;
    } else {
      ++(one.user.has_value() && one.user->name == "bob" ? his : others);
    }
  }
  EXPECT_EQ(his, 30u) << "acts with deliveries, refusals, and the first of what is beyond";
  EXPECT_EQ(summed, 0u);
  EXPECT_EQ(counted, 270u);
  EXPECT_EQ(others, 105u);
}

TEST_F(AuditTrailTest, UserHidesAnActBehindManyOthers_ItHasItsLineAtOnceAllTheSame) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 10;
  AuditTrail trail(options, clock_);
  for (int i = 0; i < 100; ++i) trail.Note(&bob_, "change", "reg-1", absl::OkStatus(), {});
  for (int i = 0; i < 5; ++i) {
    trail.Note(&bob_, "share", "reg-2", absl::OkStatus(),
               {{"principal", "user:carol"}, {"until", absl::StrCat(i)}});
    trail.Note(&bob_, "share", "reg-2", absl::OkStatus(), {{"principal", "user:mallory"}});
  }
  trail.NoteDelivery(bob_, "reg-3", "hash");
  std::vector<std::string> beyond;
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_GT(entries.size(), 10u);
  for (size_t i = 10; i < entries.size(); ++i) {
    const AuditEntry& one = entries[i];
    beyond.push_back(absl::StrCat(one.operation, " ", one.registration_id, " ", one.repeats, " ",
                                  FactOf(one, "principal"), FactOf(one, "token"), " ",
                                  FactOf(one, "until")));
  }
  ASSERT_EQ(beyond.size(), 7u);
  EXPECT_THAT(std::vector<std::string>(beyond.begin(), beyond.begin() + 4),
              testing::ElementsAre("change reg-1 0  ", "share reg-2 0 user:carol 0",
                                   "share reg-2 0 user:mallory ",
                                   "TokenService/GetAccessToken reg-3 0 hash "));
  EXPECT_THAT(std::vector<std::string>(beyond.begin() + 4, beyond.end()),
              testing::UnorderedElementsAre("change reg-1 89  ", "share reg-2 4 user:carol ",
                                            "share reg-2 4 user:mallory "));
}

TEST_F(AuditTrailTest, NothingMayGoUnwrittenAndAUserHasMadeMany_HeIsHeldBackAndOthersAreNot) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 10;
  options.deny_when_full = true;
  AuditTrail trail(options, clock_);
  for (int i = 0; i < 100; ++i) {
    trail.NoteRefusal(bob_, "access/token", absl::StrCat(i), RegistrationNotFound());
  }
  EXPECT_TRUE(trail.CheckWritable(bob_).ok()) << "refusals are no acts";
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(trail.CheckWritable(bob_).ok());
    trail.Note(&bob_, "change", "reg-1", absl::OkStatus(), {});
  }
  const absl::Status refusal = trail.CheckWritable(bob_);
  EXPECT_EQ(ReasonOf(refusal), Reason::kRateLimited);
  EXPECT_TRUE(RetryAfterOf(refusal).has_value());
  Caller contained = bob_;
  contained.in_container = true;
  EXPECT_TRUE(trail.CheckWritable(contained).ok());
  EXPECT_TRUE(trail.CheckWritable(alice_).ok());
  EXPECT_TRUE(trail.CheckWritable(Administrator()).ok());
  // It was under way.
  trail.Note(&bob_, "sign", "reg-2", absl::OkStatus(), {{"jti", "one"}});
  const std::vector<AuditEntry> entries = Read(trail);  // which begins a new minute
  EXPECT_THAT(entries,
              testing::Contains(testing::Field(&AuditEntry::facts, AuditFacts{{"jti", "one"}})));
  EXPECT_TRUE(trail.CheckWritable(bob_).ok());
}

TEST_F(AuditTrailTest, UidsThatCostNothingAreRefused_TheyShareTheLinesOfOne) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 10;
  AuditTrail trail(options, clock_);
  for (int i = 0; i < 1000; ++i) {
    trail.NoteRefusal(User(100'000 + i, ""), "access/see", "",
                      MakeError(Reason::kCallerUnidentified, "nobody"));
    Caller contained = User(200'000 + i, "");
    contained.in_container = true;
    trail.NoteRefusal(contained, "access/see", "", MakeError(Reason::kContainerDenied, "boxed"));
  }
  trail.NoteRefusal(bob_, "access/see", "", MakeError(Reason::kNotPermitted, "no"));
  const std::vector<AuditEntry> entries = Read(trail);
  ASSERT_EQ(entries.size(), 12u);
  EXPECT_EQ(entries[10].user->name, "bob");
  EXPECT_EQ(entries[11].operation, "smartkeyd/audit-counted");
  EXPECT_EQ(entries[11].repeats, 1990u);
  EXPECT_FALSE(entries[11].user.has_value());
  EXPECT_FALSE(FactOf(entries[11], "callers").empty());
}

TEST_F(AuditTrailTest, UidsThatCostNothingAreRefused_WhatIsCountedOfOthersStays) {
  AuditTrail::Options options = Options();
  options.lines_per_user = 8;
  options.most_repeated = 10;
  options.deny_when_full = true;
  AuditTrail trail(options, clock_);
  trail.NoteDelivery(alice_, "reg-1", "hash");
  for (int minute = 0; minute < 3; ++minute) {
    for (int i = 0; i < 20; ++i) {
      trail.NoteRefusal(User(100'000 + 20 * minute + i, ""), "access/see", "",
                        MakeError(Reason::kCallerUnidentified, "nobody"));
    }
    ASSERT_TRUE(trail.Flush(absl::Seconds(60)));  // the minute ends
  }
  trail.NoteDelivery(alice_, "reg-1", "hash");
  size_t first = 0;
  for (const AuditEntry& one : Read(trail))
    first += FactOf(one, "token") == "hash" && one.repeats == 0;
  EXPECT_EQ(first, 1u);
}

TEST_F(AuditTrailTest, ContainerDoesWhatItsNamesakeDoes_EachIsCountedByItself) {
  AuditTrail trail(Options(), clock_);
  Caller contained = alice_;
  contained.in_container = true;
  for (const Caller* const caller : {&alice_, static_cast<const Caller*>(&contained)}) {
    for (int i = 0; i < 3; ++i) {
      trail.NoteDelivery(*caller, "reg-1", "hash");
      trail.NoteRefusal(*caller, "access/call", "", MakeError(Reason::kRateLimited, "enough"));
    }
  }
  size_t inside = 0, outside = 0;
  for (const AuditEntry& one : Read(trail)) {
    ++(FactOf(one, "container") == "yes" ? inside : outside);
    EXPECT_TRUE(one.repeats == 0 || one.repeats == 2) << one.repeats;
  }
  EXPECT_EQ(inside, 4u);
  EXPECT_EQ(outside, 4u);
}

TEST_F(AuditTrailTest, RepeatsAreSummedUp_NothingIsSaidOfOneProcess) {
  AuditTrail trail(Options(), clock_);
  Caller root = User(0, "root");
  root.pid = 5;
  root.observed_executable = "/usr/bin/one";
  root.system_unit = "one.service";
  root.login_uid = 1000;
  root.login_name = "alice";
  Caller other = root;
  other.login_uid = 1001;
  other.login_name = "bob";
  for (int i = 0; i < 3; ++i) {
    trail.NoteRefusal(root, "access/token", "reg-1", RegistrationNotFound());
    trail.NoteRefusal(other, "access/token", "reg-1", RegistrationNotFound());
  }
  trail.NoteRefusal(other, "access/manage", "reg-1", RegistrationNotFound());
  trail.NoteDelivery(root, "reg-1", "hash");
  trail.NoteDelivery(root, "reg-1", "hash");
  size_t sums = 0;
  for (const AuditEntry& one : Read(trail)) {
    if (one.repeats == 0) continue;
    ++sums;
    EXPECT_EQ(one.pid, 0);
    EXPECT_EQ(one.executable, "");
    const bool delivery = one.operation == "TokenService/GetAccessToken";
    EXPECT_EQ(one.unit, delivery ? "one.service" : "");
    EXPECT_EQ(one.repeats, delivery ? 1u : 2u);
  }
  EXPECT_EQ(sums, 3u) << "each by whom the person logged in as";
}

}  // namespace
}  // namespace smartkey
