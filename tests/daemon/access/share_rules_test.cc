// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/share_rules.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/fakes/callers.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

Share ShareFor(int64_t uid, std::string name, int64_t gid = -1, std::string unit = "") {
  Share share;
  share.principal = absl::StrCat(name, gid, unit);
  share.uid = uid;
  share.user_name = std::move(name);
  share.gid = gid;
  share.unit = std::move(unit);
  share.operations = {"token"};
  return share;
}

Caller Bob() {
  return User(1001, "bob");
}

TEST(ShareMatch, User_IsUidAndNameOfThen) {
  EXPECT_EQ(Match(ShareFor(1001, "bob"), Bob(), kNow), ShareMatch::kYes);
  EXPECT_EQ(Match(ShareFor(1002, "bob"), Bob(), kNow), ShareMatch::kOtherUser);
  EXPECT_EQ(Match(ShareFor(1001, "robert"), Bob(), kNow), ShareMatch::kUserChanged);
  EXPECT_EQ(Match(ShareFor(1001, ""), Bob(), kNow), ShareMatch::kUserChanged);
}

TEST(ShareMatch, Group_IsPrimaryOrSupplementary) {
  Caller bob = Bob();
  EXPECT_EQ(Match(ShareFor(-1, "", 2000), bob, kNow), ShareMatch::kOtherGroup);
  bob.groups = {7, 2000};
  EXPECT_EQ(Match(ShareFor(-1, "", 2000), bob, kNow), ShareMatch::kYes);
  bob.groups.clear();
  bob.gid = 2000;
  EXPECT_EQ(Match(ShareFor(-1, "", 2000), bob, kNow), ShareMatch::kYes);
}

TEST(ShareMatch, UnitAlone_CountsOnlyWhileTheProcessIsHeld) {
  Caller service = Bob();
  service.system_unit = "viewer.service";
  const Share alone = ShareFor(-1, "", -1, "viewer.service");
  EXPECT_EQ(Match(alone, service, kNow), ShareMatch::kUnitUnsure);
  EXPECT_EQ(Match(ShareFor(1001, "bob", -1, "viewer.service"), service, kNow), ShareMatch::kYes);
  service.pid_pinned = true;
  EXPECT_EQ(Match(alone, service, kNow), ShareMatch::kYes);
  service.system_unit = "other.service";
  EXPECT_EQ(Match(alone, service, kNow), ShareMatch::kOtherUnit);
  service.system_unit = "";
  EXPECT_EQ(Match(alone, service, kNow), ShareMatch::kOtherUnit);
}

TEST(ShareMatch, SeveralParts_MustAllBeTrue) {
  Caller bob = Bob();
  const Share share = ShareFor(1001, "bob", 2000);
  EXPECT_EQ(Match(share, bob, kNow), ShareMatch::kOtherGroup);
  bob.groups = {2000};
  EXPECT_EQ(Match(share, bob, kNow), ShareMatch::kYes);
  bob.uid = 1002;
  EXPECT_EQ(Match(share, bob, kNow), ShareMatch::kOtherUser);
}

TEST(ShareMatch, RecordWithoutAnyPart_IsNobodys) {
  EXPECT_EQ(Match(ShareFor(-1, ""), Bob(), kNow), ShareMatch::kOtherUser);
}

TEST(ShareMatch, Ended_IsOverAtThatMoment) {
  Share share = ShareFor(1001, "bob");
  share.ends_at = kNow + absl::Seconds(1);
  EXPECT_EQ(Match(share, Bob(), kNow), ShareMatch::kYes);
  EXPECT_EQ(Match(share, Bob(), kNow + absl::Seconds(1)), ShareMatch::kEnded);
}

TEST(CheckShare, AssertionsWithASubsetOfTheScopes_AreRefused) {
  Share share = ShareFor(1001, "bob");
  EXPECT_TRUE(CheckShare(share, kNow).ok());
  share.scopes = {"patient/*.rs"};
  EXPECT_TRUE(CheckShare(share, kNow).ok());
  share.operations = {"token", "assertion"};
  EXPECT_EQ(ReasonOf(CheckShare(share, kNow)), Reason::kInvalidArgument);
  share.scopes.clear();
  EXPECT_TRUE(CheckShare(share, kNow).ok());
  share.operations = {"from-a-later-version"};
  EXPECT_EQ(ReasonOf(CheckShare(share, kNow)), Reason::kInvalidArgument);
}

TEST(PutShare, SamePrincipalAgain_ReplacesIt) {
  Registration registration;
  Share share = ShareFor(1001, "bob");
  ASSERT_TRUE(PutShare(registration, share).ok());
  share.operations = {"manage"};
  ASSERT_TRUE(PutShare(registration, share).ok());
  ASSERT_EQ(registration.shares.size(), 1u);
  EXPECT_EQ(registration.shares[0].operations, std::vector<std::string>{"manage"});
  EXPECT_TRUE(RemoveShare(registration, share.principal).ok());
  EXPECT_TRUE(registration.shares.empty());
  EXPECT_EQ(ReasonOf(RemoveShare(registration, share.principal)), Reason::kShareNotFound);
}

TEST(RemoveShare, WhatWasMadeUnderIt_GoesWithIt) {
  for (const bool replaced : {false, true}) {
    Registration registration;
    Share manager = ShareFor(1001, "bob");
    manager.id = "s1";
    manager.operations = {"token", "manage"};
    Share other = ShareFor(1002, "carol");
    other.id = "s2";
    Share passed_on = ShareFor(1003, "dora");
    passed_on.id = "s3";
    passed_on.made_under = "s1";
    for (const Share& one : {manager, other, passed_on}) {
      ASSERT_TRUE(PutShare(registration, one).ok());
    }
    Share again = manager;
    again.id = "s4";
    ASSERT_TRUE(
        (replaced ? PutShare(registration, again) : RemoveShare(registration, manager.principal))
            .ok());
    std::vector<std::string> left;
    for (const Share& one : registration.shares) left.push_back(one.id);
    EXPECT_EQ(left,
              replaced ? (std::vector<std::string>{"s4", "s2"}) : std::vector<std::string>{"s2"});
  }
}

TEST(IsPartOf, OperationsScopesAndEnd_NoneMayBeMore) {
  Share whole = ShareFor(1001, "bob");
  whole.operations = {"token", "manage"};
  whole.scopes = {"patient/*.rs"};
  whole.ends_at = kNow + absl::Hours(1);
  Share part = whole;
  part.operations = {"token"};
  EXPECT_TRUE(IsPartOf(part, whole));
  part.scopes = {"patient/Observation.rs"};
  EXPECT_TRUE(IsPartOf(part, whole));
  part.scopes.clear();  // all
  EXPECT_FALSE(IsPartOf(part, whole));
  part.scopes = {"openid"};
  EXPECT_FALSE(IsPartOf(part, whole));
  part = whole;
  part.operations = {"jwt"};
  EXPECT_FALSE(IsPartOf(part, whole));
  part = whole;
  part.ends_at += absl::Seconds(1);
  EXPECT_FALSE(IsPartOf(part, whole));
}

TEST(PutShare, MoreThanARegistrationMayHave_IsRefusedAndChangingOneIsNot) {
  Registration registration;
  for (size_t i = 0; i < kMaxShares; ++i) {
    ASSERT_TRUE(PutShare(registration, ShareFor(i, absl::StrCat("u", i, "-"))).ok());
  }
  EXPECT_EQ(ReasonOf(PutShare(registration, ShareFor(5000, "late"))), Reason::kRateLimited);
  EXPECT_TRUE(PutShare(registration, ShareFor(3, "u3-")).ok());
}

TEST(PutShare, MoreScopesInAllThanARegistrationTakes_AreRefusedAndReplacedOnesDoNotCount) {
  Registration registration;
  const auto share = [](const std::string& user) {
    Share one;
    one.principal = "user:" + user;
    one.scopes.assign(64, std::string(256, 's'));  // 16 KiB
    return one;
  };
  for (const char* user : {"a", "b", "c", "d"}) {
    EXPECT_TRUE(PutShare(registration, share(user)).ok());
  }
  EXPECT_EQ(ReasonOf(PutShare(registration, share("e"))), Reason::kRateLimited);
  EXPECT_TRUE(PutShare(registration, share("a")).ok());
  EXPECT_EQ(registration.shares.size(), 4u);
}

}  // namespace
}  // namespace smartkey
