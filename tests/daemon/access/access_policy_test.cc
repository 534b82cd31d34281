// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access_policy.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"

namespace smartkey {
namespace {

constexpr uid_t kAlice = 1000;
constexpr uid_t kBob = 1001;

class AccessPolicyTest : public testing::Test {
 protected:
  void Add(std::string id, uid_t uid, std::string owner, std::string name) {
    Registration registration;
    registration.id = std::move(id);
    registration.owner_uid = uid;
    registration.owner_name = std::move(owner);
    registration.name = Identifying(std::move(name));
    registration.created_at = absl::FromUnixSeconds(++created_);
    registration.generations.emplace_back();
    registration.generations.back().state = GenerationState::kActive;
    absl::Status inserted;
    store_.Insert(std::move(registration), [&](absl::Status status) { inserted = status; });
    ASSERT_TRUE(inserted.ok()) << inserted;
  }

  // The id found, or the reason why none.
  std::string Find(const Caller& caller, absl::string_view what,
                   Operation operation = Operation::kToken) const {
    const absl::StatusOr<RegistrationStore::Snapshot> found = policy_.Find(caller, what, operation);
    return found.ok() ? (*found)->id : std::string(ReasonName(ReasonOf(found.status())));
  }

  std::vector<std::string> List(const Caller& caller) const {
    std::vector<std::string> ids;
    for (const auto& one : policy_.List(caller)) ids.push_back(one->id);
    return ids;
  }

  int64_t created_ = 0;
  FakeClock clock_;
  FakeRegistrationStore store_;
  CurrentCatalog catalog_{Catalog()};
  AccessPolicy policy_{store_, catalog_, clock_};
};

TEST_F(AccessPolicyTest, OwnerAsksByIdOrName_FindsItForEveryOperation) {
  Add("r1", kAlice, "alice", "mercy");
  for (const Operation operation : {Operation::kSee, Operation::kToken, Operation::kAssertion,
                                    Operation::kJwks, Operation::kManage}) {
    EXPECT_EQ(Find(User(kAlice, "alice"), "r1", operation), "r1");
    EXPECT_EQ(Find(User(kAlice, "alice"), "mercy", operation), "r1");
  }
}

TEST_F(AccessPolicyTest, TwoUsersHaveTheSameName_EachFindsTheOwnOne) {
  Add("r1", kAlice, "alice", "mercy");
  Add("r2", kBob, "bob", "mercy");
  EXPECT_EQ(Find(User(kAlice, "alice"), "mercy"), "r1");
  EXPECT_EQ(Find(User(kBob, "bob"), "mercy"), "r2");
  EXPECT_EQ(List(User(kAlice, "alice")), std::vector<std::string>{"r1"});
}

TEST_F(AccessPolicyTest, UidWasRecycled_IsToldThatTheOwnerChanged) {
  Add("r1", kAlice, "alice", "mercy");
  const Caller mallory = User(kAlice, "mallory");
  EXPECT_EQ(Find(mallory, "r1"), "OWNER_CHANGED");
  // By an id, which is known only to who was told; names of a former login are not to be guessed.
  EXPECT_EQ(Find(mallory, "mercy"), "REGISTRATION_NOT_FOUND");
  EXPECT_TRUE(List(mallory).empty());
}

TEST_F(AccessPolicyTest, UidWasRecycledAndNewUserHasTheSameName_FindsTheOwnOne) {
  Add("old", kAlice, "alice", "mercy");
  Add("new", kAlice, "mallory", "mercy");
  EXPECT_EQ(Find(User(kAlice, "mallory"), "mercy"), "new");
  EXPECT_EQ(Find(User(kAlice, "alice"), "mercy"), "old");
  EXPECT_EQ(List(User(kAlice, "mallory")), std::vector<std::string>{"new"});
}

TEST_F(AccessPolicyTest, OtherUserAsks_GetsTheVeryBytesOfAnUnknownName) {
  Add("r1", kAlice, "alice", "mercy");
  const Caller bob = User(kBob, "bob");
  const absl::Status by_id = policy_.Find(bob, "r1", Operation::kToken).status();
  const absl::Status by_name = policy_.Find(bob, "mercy", Operation::kToken).status();
  const absl::Status unknown = policy_.Find(bob, "nothing", Operation::kToken).status();
  EXPECT_EQ(unknown, RegistrationNotFound());
  // With payloads, not only code and message.
  EXPECT_EQ(by_id.ToString(absl::StatusToStringMode::kWithEverything),
            unknown.ToString(absl::StatusToStringMode::kWithEverything));
  EXPECT_EQ(by_name.ToString(absl::StatusToStringMode::kWithEverything),
            unknown.ToString(absl::StatusToStringMode::kWithEverything));
  EXPECT_EQ(policy_.Find(bob, "alice/mercy", Operation::kSee).status(), RegistrationNotFound());
  EXPECT_TRUE(List(bob).empty());
}

TEST_F(AccessPolicyTest, SameUserNameWithAnotherUid_IsNotTheOwner) {
  Add("r1", kAlice, "alice", "mercy");
  EXPECT_EQ(Find(User(kBob, "alice"), "r1"), "REGISTRATION_NOT_FOUND");
}

TEST_F(AccessPolicyTest, CallerWithoutIdentity_IsRefusedBeforeAnythingIsLookedAt) {
  Add("r1", kAlice, "alice", "mercy");
  Add("r2", 65534, "nobody", "mercy");
  Add("r3", kBob, "", "mercy");
  Caller contained = User(kAlice, "alice");
  contained.in_container = true;
  EXPECT_EQ(Find(contained, "r1"), "CONTAINER_DENIED");
  EXPECT_EQ(Find(User(65534, "nobody"), "r2"), "CALLER_UNIDENTIFIED");
  EXPECT_EQ(Find(User(static_cast<uid_t>(-1), "alice"), "r1"), "CALLER_UNIDENTIFIED");
  EXPECT_EQ(Find(User(kBob, ""), "r3"), "CALLER_UNIDENTIFIED");
  for (const Caller& caller :
       {contained, User(65534, "nobody"), User(static_cast<uid_t>(-1), "alice"), User(kBob, "")}) {
    EXPECT_FALSE(policy_.CheckCaller(caller, "see").ok());
    EXPECT_FALSE(policy_.CheckEnroll(caller).ok());
    EXPECT_TRUE(List(caller).empty());
  }
  Caller contained_admin = Administrator();
  contained_admin.in_container = true;
  EXPECT_EQ(Find(contained_admin, "r1", Operation::kSee), "CONTAINER_DENIED");
}

TEST_F(AccessPolicyTest, Administrator_SeesAndManagesAllAndGetsNoTokens) {
  Add("r1", kAlice, "alice", "mercy");
  Add("r2", kBob, "bob", "mercy");
  EXPECT_EQ(List(Administrator()), (std::vector<std::string>{"r1", "r2"}));
  EXPECT_EQ(Find(Administrator(), "r2", Operation::kManage), "r2");
  EXPECT_EQ(Find(Administrator(), "r2", Operation::kJwks), "r2");
  EXPECT_EQ(Find(Administrator(), "r2", Operation::kToken), "NOT_PERMITTED");
  EXPECT_EQ(Find(Administrator(), "r2", Operation::kAssertion), "NOT_PERMITTED");
}

TEST_F(AccessPolicyTest, RootOnThePublicSocket_IsAnOrdinaryUser) {
  Add("r1", kAlice, "alice", "mercy");
  EXPECT_EQ(Find(User(0, "root"), "r1", Operation::kManage), "REGISTRATION_NOT_FOUND");
  EXPECT_TRUE(List(User(0, "root")).empty());
}

TEST_F(AccessPolicyTest, AdministratorNamesOwnerAndName_FindsThatOne) {
  Add("r1", kAlice, "alice", "mercy");
  Add("r2", kBob, "bob", "mercy");
  Add("r3", kBob, "bob", "clinic");
  EXPECT_EQ(Find(Administrator(), "alice/mercy", Operation::kManage), "r1");
  EXPECT_EQ(Find(Administrator(), "bob/mercy", Operation::kManage), "r2");
  EXPECT_EQ(Find(Administrator(), "clinic", Operation::kManage), "r3");
  EXPECT_EQ(Find(Administrator(), "mercy", Operation::kManage), "REGISTRATION_AMBIGUOUS");
  EXPECT_EQ(Find(Administrator(), "carol/mercy", Operation::kManage), "REGISTRATION_NOT_FOUND");
  EXPECT_EQ(Find(Administrator(), "alice/", Operation::kManage), "REGISTRATION_NOT_FOUND");
}

TEST_F(AccessPolicyTest, AdministratorWantsToEnroll_IsRefused) {
  EXPECT_EQ(ReasonOf(policy_.CheckEnroll(Administrator())), Reason::kNotPermitted);
  EXPECT_TRUE(policy_.CheckEnroll(User(kAlice, "alice")).ok());
}

TEST_F(AccessPolicyTest, StoreCannotBeRead_NothingIsSaidNotToExistAndNothingIsBegun) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "the database is damaged"));
  for (const Caller& caller : {User(kAlice, "alice"), User(kBob, "bob"), Administrator()}) {
    for (const Operation operation : {Operation::kSee, Operation::kManage}) {
      EXPECT_EQ(Find(caller, "mercy", operation), "STORE_UNAVAILABLE");
    }
    EXPECT_EQ(
        ReasonOf(policy_.Select(caller, {RegistrationTarget::Kind::kServer, "mercy"}).status()),
        Reason::kStoreUnavailable);
  }
  EXPECT_EQ(ReasonOf(policy_.CheckEnroll(User(kAlice, "alice"))), Reason::kStoreUnavailable);
  EXPECT_EQ(ReasonOf(policy_.CheckEnroll(Administrator())), Reason::kNotPermitted);
}

}  // namespace
}  // namespace smartkey
