// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/share_rules.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"

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
  Caller caller;
  caller.uid = 1001;
  caller.gid = 1001;
  caller.user_name = "bob";
  return caller;
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

TEST(PutShare, MoreThanARegistrationMayHave_IsRefusedAndChangingOneIsNot) {
  Registration registration;
  for (size_t i = 0; i < kMaxShares; ++i) {
    ASSERT_TRUE(PutShare(registration, ShareFor(i, absl::StrCat("u", i, "-"))).ok());
  }
  EXPECT_EQ(ReasonOf(PutShare(registration, ShareFor(5000, "late"))), Reason::kRateLimited);
  EXPECT_TRUE(PutShare(registration, ShareFor(3, "u3-")).ok());
}

}  // namespace
}  // namespace smartkey
