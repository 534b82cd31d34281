// SPDX-License-Identifier: Apache-2.0
// AccessPolicy where registrations are shared.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/explanation.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SharedTest : public testing::Test {
 protected:
  SharedTest() { Add("r1", alice_, "mercy"); }

  void Add(const std::string& id, const Caller& owner, const std::string& name) {
    Registration registration;
    registration.id = id;
    registration.owner_uid = owner.uid;
    registration.owner_name = owner.user_name;
    registration.name = Identifying(name);
    registration.generations.emplace_back().state = GenerationState::kActive;
    store_.Insert(std::move(registration), [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  }

  void Change(const std::string& id, std::function<void(Registration&)> change) {
    store_.Update(
        id,
        [&](Registration& registration) {
          change(registration);
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> updated) { EXPECT_TRUE(updated.ok()); });
  }

  // Shares with bob.
  void ShareIt(const std::string& id, std::vector<std::string> operations,
               std::vector<std::string> scopes = {}) {
    Change(id, [&](Registration& registration) {
      Share share;
      share.principal = "user:bob";
      share.uid = bob_.uid;
      share.user_name = "bob";
      share.operations = std::move(operations);
      share.scopes = std::move(scopes);
      EXPECT_TRUE(PutShare(registration, share).ok());
    });
  }

  std::string Find(const Caller& caller, absl::string_view what, Operation operation) const {
    const auto found = policy_.Find(caller, what, operation);
    return found.ok() ? (*found)->id : std::string(ReasonName(ReasonOf(found.status())));
  }

  std::vector<std::string> List(const Caller& caller) const {
    std::vector<std::string> ids;
    for (const auto& one : policy_.List(caller)) ids.push_back(one->id);
    return ids;
  }

  Reason Delivery(const ScopeSet& asked, absl::optional<ScopeSet> granted) const {
    AccessToken token;
    token.granted = std::move(granted);
    return ReasonOf(policy_.CheckDelivery(bob_, "r1", asked, token));
  }

  const Caller alice_ = User(1000, "alice"), bob_ = User(1001, "bob"), carol_ = User(1002, "carol");
  FakeClock clock_;
  FakeRegistrationStore store_;
  CurrentCatalog catalog_{Catalog()};
  AccessPolicy policy_{store_, catalog_, clock_};
};

TEST_F(SharedTest, Grantee_DoesWhatTheShareAllowsAndIsToldWhatItDoesNot) {
  EXPECT_EQ(Find(bob_, "r1", Operation::kSee), "REGISTRATION_NOT_FOUND");
  ShareIt("r1", {"token"});
  EXPECT_EQ(Find(bob_, "r1", Operation::kSee), "r1");
  EXPECT_EQ(Find(bob_, "r1", Operation::kToken), "r1");
  EXPECT_EQ(Find(bob_, "r1", Operation::kJwks), "r1");
  for (const Operation one : {Operation::kAssertion, Operation::kManage, Operation::kJwt}) {
    EXPECT_EQ(Find(bob_, "r1", one), "SHARE_LACKS_OPERATION");
  }
  EXPECT_THAT(List(bob_), ElementsAre("r1"));
  EXPECT_THAT(List(carol_), IsEmpty());
  EXPECT_EQ(Find(carol_, "r1", Operation::kToken), "REGISTRATION_NOT_FOUND");
}

TEST_F(SharedTest, TakenBack_ItDoesNotExistForHimAnyMore) {
  ShareIt("r1", {"token"});
  Change("r1", [](Registration& registration) { registration.shares.clear(); });
  EXPECT_EQ(Find(bob_, "r1", Operation::kToken), "REGISTRATION_NOT_FOUND");
  EXPECT_EQ(Delivery({}, ScopeSet{"openid"}), Reason::kRegistrationNotFound);
}

TEST_F(SharedTest, Ended_AllowsNothingAtOnce) {
  ShareIt("r1", {"token"});
  Change("r1", [&](Registration& registration) {
    registration.shares[0].ends_at = clock_.Now() + absl::Hours(1);
  });
  EXPECT_EQ(Find(bob_, "r1", Operation::kToken), "r1");
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(Find(bob_, "r1", Operation::kToken), "REGISTRATION_NOT_FOUND");
}

TEST_F(SharedTest, ByName_OwnBeforeSharedAndOwnersNameTellsThemApart) {
  ShareIt("r1", {"token"});
  EXPECT_EQ(Find(bob_, "mercy", Operation::kToken), "r1");
  EXPECT_EQ(Find(bob_, "alice/mercy", Operation::kToken), "r1");
  EXPECT_EQ(Find(carol_, "alice/mercy", Operation::kToken), "REGISTRATION_NOT_FOUND");
  Add("r2", bob_, "mercy");
  EXPECT_EQ(Find(bob_, "mercy", Operation::kToken), "r2");
  EXPECT_EQ(Find(bob_, "alice/mercy", Operation::kToken), "r1");
  Add("r3", carol_, "clinic");
  Add("r4", alice_, "clinic");
  ShareIt("r3", {"token"});
  ShareIt("r4", {"token"});
  EXPECT_EQ(Find(bob_, "clinic", Operation::kToken), "REGISTRATION_AMBIGUOUS");
  EXPECT_EQ(Find(bob_, "carol/clinic", Operation::kToken), "r3");
}

TEST_F(SharedTest, LookedFor_OnlyWhatIsNotHisIsCountedAndTheSameWhetherItIsThere) {
  ShareIt("r1", {"token"});
  Add("r2", bob_, "own");
  Add("r3", carol_, "hidden");
  Caller contained = bob_;
  contained.in_container = true;
  const auto counted = [&](const Caller& caller, absl::string_view what) {
    int times = 0;
    policy_
        .Find(caller, what, Operation::kAssertion,
              [&] {
                ++times;
                return absl::OkStatus();
              })
        .IgnoreError();
    return times;
  };
  EXPECT_EQ(counted(bob_, "own"), 0);
  EXPECT_EQ(counted(bob_, "r2"), 0);
  EXPECT_EQ(counted(bob_, "r1"), 0);  // his, though it does not allow this
  for (const char* what : {"mercy", "alice/mercy", "r3", "hidden", "no-such"}) {
    EXPECT_EQ(counted(bob_, what), 1) << what;
  }
  for (const char* what : {"r3", "hidden", "no-such", "own", "r2"}) {
    EXPECT_EQ(counted(contained, what), 1) << what;
  }
  const auto refused = policy_.Find(bob_, "no-such", Operation::kToken,
                                    [] { return MakeError(Reason::kRateLimited, "too many"); });
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kRateLimited);
}

TEST_F(SharedTest, ScopeSubset_NarrowsWhatIsAskedFor) {
  ShareIt("r1", {"token"}, {"patient/Observation.rs"});
  const auto narrow = [&](const Caller& caller, ScopeSet asked) {
    return policy_.NarrowScopes(caller, *store_.Find("r1"), asked);
  };
  EXPECT_EQ(narrow(bob_, {}).value(), (ScopeSet{"patient/Observation.rs"}));
  EXPECT_EQ(narrow(bob_, {"patient/Observation.r"}).value(), (ScopeSet{"patient/Observation.r"}));
  EXPECT_EQ(ReasonOf(narrow(bob_, {"patient/*.rs"}).status()), Reason::kShareLacksScope);
  EXPECT_EQ(narrow(alice_, {}).value(), ScopeSet{});
  EXPECT_EQ(ReasonOf(narrow(carol_, {}).status()), Reason::kRegistrationNotFound);
}

TEST_F(SharedTest, ScopeSubset_WiderOrUnprovenTokensAreNotHandedOut) {
  ShareIt("r1", {"token"}, {"patient/Observation.rs"});
  const ScopeSet asked = {"patient/Observation.rs"};
  EXPECT_EQ(Delivery(asked, asked), Reason::kUnspecified);
  EXPECT_EQ(Delivery(asked, ScopeSet{"patient/Observation.read"}), Reason::kUnspecified);
  EXPECT_EQ(Delivery(asked, ScopeSet{"patient/*.rs"}), Reason::kScopeUnproven);
  EXPECT_EQ(Delivery(asked, ScopeSet{"patient/Observation.rs", "openid"}), Reason::kScopeUnproven);
  EXPECT_EQ(Delivery(asked, absl::nullopt), Reason::kScopeUnproven);
  // Made narrower while the token was fetched: an empty set was asked for with everything.
  EXPECT_EQ(Delivery({}, asked), Reason::kShareLacksScope);
  EXPECT_EQ(Delivery({"openid"}, ScopeSet{"openid"}), Reason::kShareLacksScope);
}

TEST_F(SharedTest, ManageWithoutToken_GivesNoToken) {
  ShareIt("r1", {"manage"});
  EXPECT_EQ(Find(bob_, "r1", Operation::kManage), "r1");
  EXPECT_EQ(Find(bob_, "r1", Operation::kToken), "SHARE_LACKS_OPERATION");
  EXPECT_EQ(ReasonOf(policy_.NarrowScopes(bob_, *store_.Find("r1"), {}).status()),
            Reason::kShareLacksOperation);
}

TEST_F(SharedTest, ManagedByAShare_OnlyPartsOfThatOneArePassedOn) {
  ShareIt("r1", {"token", "manage"}, {"patient/*.rs"});
  std::string manages;
  Change("r1", [&](Registration& registration) {
    manages = registration.shares[0].id = "share-of-bob";
    registration.shares[0].ends_at = clock_.Now() + absl::Hours(1);
    Share group;  // more, and without end, but managing nothing
    group.id = "share-of-clinic";
    group.principal = "group:clinic";
    group.gid = 2000;
    group.operations = {"token", "jwt"};
    EXPECT_TRUE(PutShare(registration, group).ok());
  });
  Caller bob = bob_;
  bob.groups = {2000};
  const auto check = [&](const Share& share) {
    const auto under = policy_.CheckShareBy(bob, *store_.Find("r1"), share);
    return under.ok() ? *under : std::string(ReasonName(ReasonOf(under.status())));
  };
  Share share;
  share.principal = "user:carol";
  share.operations = {"token"};
  share.scopes = {"patient/Observation.rs"};
  share.ends_at = clock_.Now() + absl::Hours(1);
  EXPECT_EQ(check(share), manages);
  Share wider = share;
  wider.scopes.clear();
  EXPECT_EQ(check(wider), "NOT_PERMITTED");
  Share longer = share;
  longer.ends_at = absl::InfiniteFuture();
  EXPECT_EQ(check(longer), "NOT_PERMITTED");
  Share other = share;
  other.operations = {"jwt"};
  EXPECT_EQ(check(other), "NOT_PERMITTED");
  Share own = share;
  own.principal = "user:bob";
  EXPECT_EQ(check(own), "NOT_PERMITTED");
  EXPECT_EQ(policy_.CheckShareBy(alice_, *store_.Find("r1"), wider).value(), "");
}

TEST_F(SharedTest, SeveralSharesOfACaller_AllowWhatAnyOfThemDoes) {
  ShareIt("r1", {"token"}, {"openid"});
  Change("r1", [](Registration& registration) {
    Share group;
    group.principal = "group:clinic";
    group.gid = 2000;
    group.operations = {"token", "jwt"};
    group.scopes = {"patient/*.rs"};
    EXPECT_TRUE(PutShare(registration, group).ok());
  });
  Caller bob = bob_;
  bob.groups = {2000};
  const Right right = policy_.RightTo(bob, *store_.Find("r1"));
  EXPECT_TRUE(right.operations.HasAll({Operation::kToken, Operation::kJwt}));
  EXPECT_EQ(right.scopes, (ScopeSet{"openid", "patient/*.rs"}));
  EXPECT_EQ(policy_.RightTo(bob_, *store_.Find("r1")).scopes, ScopeSet{"openid"});
}

TEST_F(SharedTest, Private_EvenTheOwnersProgramsNeedAShare) {
  Change("r1", [](Registration& registration) { registration.shares_only = true; });
  EXPECT_EQ(Find(alice_, "mercy", Operation::kManage), "r1");
  EXPECT_EQ(Find(alice_, "mercy", Operation::kToken), "NOT_PERMITTED");
  EXPECT_EQ(Find(alice_, "mercy", Operation::kAssertion), "NOT_PERMITTED");
  Change("r1", [](Registration& registration) {
    Share share;
    share.principal = "user:alice+unit:viewer.service";
    share.uid = 1000;
    share.user_name = "alice";
    share.unit = "viewer.service";
    share.operations = {"token"};
    EXPECT_TRUE(PutShare(registration, share).ok());
  });
  Caller viewer = alice_;
  viewer.system_unit = "viewer.service";
  EXPECT_EQ(Find(viewer, "mercy", Operation::kToken), "r1");
  EXPECT_EQ(Find(alice_, "mercy", Operation::kToken), "NOT_PERMITTED");
}

TEST_F(SharedTest, Container_IsReachedByAShareAlone) {
  Caller contained = bob_;
  contained.in_container = true;
  Caller owner_inside = alice_;
  owner_inside.in_container = true;
  EXPECT_EQ(Find(contained, "r1", Operation::kToken), "CONTAINER_DENIED");
  EXPECT_EQ(Find(contained, "no such", Operation::kToken), "CONTAINER_DENIED");
  ShareIt("r1", {"token"});
  EXPECT_EQ(Find(contained, "r1", Operation::kToken), "r1");
  EXPECT_THAT(List(contained), ElementsAre("r1"));
  EXPECT_EQ(Find(owner_inside, "r1", Operation::kToken), "CONTAINER_DENIED");
  EXPECT_THAT(List(owner_inside), IsEmpty());
  // A service's uid that has no user name likewise.
  EXPECT_EQ(Find(User(61234, ""), "r1", Operation::kToken), "CALLER_UNIDENTIFIED");
}

TEST_F(SharedTest, LoginOfAGranteeHasChanged_IsSaidToWhoKnowsTheId) {
  ShareIt("r1", {"token"});
  const Caller robert = User(1001, "robert");
  EXPECT_EQ(Find(robert, "r1", Operation::kToken), "OWNER_CHANGED");
  // Names of what was a former login's are not to be guessed.
  EXPECT_EQ(Find(robert, "alice/mercy", Operation::kToken), "REGISTRATION_NOT_FOUND");
  EXPECT_THAT(List(robert), IsEmpty());
  EXPECT_EQ(Find(carol_, "r1", Operation::kToken), "REGISTRATION_NOT_FOUND");
}

TEST_F(SharedTest, UidThatIsNobodys_HasNoShareEither) {
  Change("r1", [](Registration& registration) {
    Share share;
    share.principal = "group:nogroup";
    share.gid = 65534;
    share.operations = {"token"};
    EXPECT_TRUE(PutShare(registration, share).ok());
  });
  EXPECT_EQ(Find(User(65534, "nobody"), "r1", Operation::kToken), "CALLER_UNIDENTIFIED");
  EXPECT_THAT(List(User(65534, "nobody")), IsEmpty());
}

TEST_F(SharedTest, Explained_TheLastStepDecidesAndOthersSharesAreTheOwnersToKnow) {
  ShareIt("r1", {"token"}, {"openid"});
  const Registration& registration = *store_.Find("r1");
  const Explanation whole = Explain(policy_, carol_, registration, true, clock_.Now());
  EXPECT_THAT(whole.facts, Contains("user: carol (uid 1002)"));
  EXPECT_THAT(whole.steps, Contains("share user:bob: not this one: another user"));
  EXPECT_THAT(whole.steps.back(), HasSubstr("so: nothing"));
  const Explanation own = Explain(policy_, carol_, registration, false, clock_.Now());
  EXPECT_THAT(own.steps, Not(Contains(HasSubstr("user:bob"))));
  const Explanation bobs = Explain(policy_, bob_, registration, false, clock_.Now());
  EXPECT_THAT(bobs.steps, Contains("share user:bob: allows token, for openid"));
  EXPECT_EQ(bobs.steps.back(), "so: token");
  EXPECT_THAT(Explain(policy_, alice_, registration, true, clock_.Now()).steps,
              Contains("the owner may do everything"));
}

}  // namespace
}  // namespace smartkey
