// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/principal.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "daemon/access/share_rules.h"

namespace smartkey {
namespace {

Reason ReasonFor(absl::string_view text) {
  return ReasonOf(ParsePrincipal(text).status());
}

TEST(Principal, EveryFormThatIsDocumented_IsReadAndWrittenTheSame) {
  for (const char* text :
       {"user:alice", "uid:1000", "uid:0", "group:clinic", "unit:viewer.service",
        "user:alice+unit:viewer.service", "uid:7+group:clinic+unit:getty@tty1.service",
        "user:CLINIC\\bob", "user:bob@clinic.example", "user:svc$"}) {
    const absl::StatusOr<Principal> principal = ParsePrincipal(text);
    ASSERT_TRUE(principal.ok()) << text << principal.status();
    EXPECT_EQ(ToString(*principal), text);
  }
}

TEST(Principal, PartsInAnotherOrder_AreTheSamePrincipal) {
  EXPECT_EQ(ToString(ParsePrincipal("unit:viewer.service+user:alice").value()),
            "user:alice+unit:viewer.service");
}

TEST(Principal, Malformed_IsRefusedWithoutQuotingIt) {
  for (const char* text : {"",
                           "alice",
                           "user:",
                           "user:-rf",
                           "user:a b",
                           "user:a\nb",
                           "uid:",
                           "uid:-1",
                           "uid:01",
                           "uid:4294967295",
                           "uid:65534",
                           "uid:99999999999",
                           "uid:1x",
                           "group:",
                           "unit:viewer",
                           "unit:.service",
                           "unit:../x.service",
                           "unit:a b.service",
                           "user:a+user:b",
                           "user:a+uid:1",
                           "uid:1+uid:2",
                           "unit:a.service+unit:b.service",
                           "user:a+",
                           "+",
                           "exe:/usr/bin/viewer"}) {
    EXPECT_EQ(ReasonFor(text), Reason::kInvalidArgument) << text;
  }
  EXPECT_EQ(ReasonFor("user:" + std::string(600, 'a')), Reason::kInvalidArgument);
}

UserDatabase Users() {
  return {[](uid_t uid) -> absl::StatusOr<UserEntry> {
            return uid == 1001 ? UserEntry{"bob", "/bin/bash", 1001} : UserEntry();
          },
          [](const UserEntry& user) { return std::vector<gid_t>{user.gid}; },
          [](const std::string& name) -> absl::StatusOr<absl::optional<uid_t>> {
            if (name == "slow") return MakeError(Reason::kNotReady, "no answer");
            return name == "bob" ? absl::optional<uid_t>(1001) : absl::nullopt;
          },
          [](const std::string& name) -> absl::StatusOr<absl::optional<gid_t>> {
            return name == "clinic" ? absl::optional<gid_t>(2000) : absl::nullopt;
          }};
}

TEST(Resolve, NamesBecomeNumbersAndTheNameOfTheUidIsKept) {
  const Share share =
      Resolve(ParsePrincipal("user:bob+group:clinic+unit:viewer.service").value(), Users()).value();
  EXPECT_EQ(share.principal, "user:bob+group:clinic+unit:viewer.service");
  EXPECT_EQ(share.uid, 1001);
  EXPECT_EQ(share.user_name, "bob");
  EXPECT_EQ(share.gid, 2000);
  EXPECT_EQ(share.unit, "viewer.service");
  const Share by_uid = Resolve(ParsePrincipal("uid:1001").value(), Users()).value();
  EXPECT_EQ(by_uid.user_name, "bob");
  // As those of a container's users, which the host does not know.
  const Share nameless = Resolve(ParsePrincipal("uid:100999").value(), Users()).value();
  EXPECT_EQ(nameless.uid, 100999);
  EXPECT_EQ(nameless.user_name, "");
}

TEST(Resolve, WhoIsNotThereOrNotToBeFoundOutNow_IsSaid) {
  const auto reason = [](const char* text) {
    return ReasonOf(Resolve(ParsePrincipal(text).value(), Users()).status());
  };
  EXPECT_EQ(reason("user:mallory"), Reason::kUnknownPrincipal);
  EXPECT_EQ(reason("group:nurses"), Reason::kUnknownPrincipal);
  EXPECT_EQ(reason("user:slow"), Reason::kNotReady);
}

TEST(ConfiguredDenial, UsersAreMeantByNumberToo_AndWhoIsNotToBeFoundIsNotNobody) {
  const auto denied = [](const char* text) {
    return ConfiguredDenial(ParsePrincipal(text).value(), "smartkeyd.toml:7", Users());
  };
  EXPECT_EQ(denied("user:bob").uid, 1001);
  EXPECT_EQ(denied("user:bob").user_name, "bob");
  EXPECT_EQ(denied("user:mallory").uid, kUnknownUid);
  EXPECT_EQ(denied("user:slow").uid, kUnknownUid);
  EXPECT_EQ(denied("group:nurses").gid, kUnknownGid);
  EXPECT_EQ(denied("uid:4001").uid, 4001);
  EXPECT_EQ(denied("unit:viewer.service").uid, -1);
}

TEST(UserDatabase, OfThisSystem_KnowsRoot) {
  const UserDatabase users;
  EXPECT_EQ(users.entry_of(0).value().name, "root");
  EXPECT_EQ(users.find_user("root").value(), absl::optional<uid_t>(0));
  EXPECT_EQ(users.find_group("root").value(), absl::optional<gid_t>(0));
  EXPECT_EQ(users.name_of_group(0).value(), "root");
  EXPECT_EQ(users.name_of_group(4000000001).value(), "");
  EXPECT_EQ(users.find_user("no-such-user-here").value(), absl::nullopt);
  EXPECT_EQ(users.find_group("no-such-group-here").value(), absl::nullopt);
}

}  // namespace
}  // namespace smartkey
