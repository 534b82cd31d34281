// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/policy_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/error.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/explanation.h"
#include "daemon/access/share_rules.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::HasSubstr;

Share Named(std::string user) {
  Share share;
  share.principal = "user:" + user;
  share.user_name = std::move(user);
  share.policy = "smartkeyd.toml:7";
  return share;
}

Caller Service(uid_t uid, std::string name) {
  Caller caller = User(uid, std::move(name));
  caller.has_login_shell = false;
  return caller;
}

class EnrollPolicy : public testing::Test {
 protected:
  Reason Check(const Caller& caller, const std::string& server = "mercy",
               const std::string& app = "org.example.viewer") {
    return ReasonOf(CheckEnrollByPolicy(catalog_, caller, server, app));
  }

  Policy& Add() {
    Policy& policy = catalog_.policies.emplace_back();
    policy.place = "smartkeyd.toml:7";
    return policy;
  }

  const Caller alice_ = User(1000, "alice"), bob_ = User(1001, "bob");
  const Caller viewer_ = Service(990, "viewer");
  Catalog catalog_;
};

TEST_F(EnrollPolicy, WithoutOne_PeopleMayAndServicesMayNot) {
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
  EXPECT_EQ(Check(viewer_), Reason::kEnrollmentNotAllowed);
  EXPECT_THAT(std::string(RemedyOf(CheckEnrollByPolicy(catalog_, viewer_, "mercy", "app"))),
              HasSubstr("allow_enroll"));
}

TEST_F(EnrollPolicy, AllowedList_IsAllThatMay) {
  Add().allow_enroll = Policy::Allowed{false, {Named("viewer")}};
  EXPECT_EQ(Check(viewer_), Reason::kUnspecified);
  EXPECT_EQ(Check(alice_), Reason::kEnrollmentNotAllowed);
  EXPECT_THAT(std::string(CheckEnrollByPolicy(catalog_, alice_, "mercy", "app").message()),
              HasSubstr("smartkeyd.toml:7"));
  catalog_.policies[0].allow_enroll->people = true;
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
  EXPECT_EQ(Check(Service(991, "other")), Reason::kEnrollmentNotAllowed);
}

TEST_F(EnrollPolicy, Denied_EvenIfAllowed) {
  Policy& policy = Add();
  policy.deny_enroll = {Named("alice")};
  EXPECT_EQ(Check(alice_), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(bob_), Reason::kUnspecified);  // people, as without a list
  policy.allow_enroll = Policy::Allowed{true, {Named("alice")}};
  EXPECT_EQ(Check(alice_), Reason::kEnrollmentNotAllowed);
}

TEST_F(EnrollPolicy, DeniedUserByAnotherNameOfHis_IsDenied) {
  Share denied = Named("bob");
  denied.uid = 1001;
  Add().deny_enroll = {denied};
  EXPECT_EQ(Check(bob_), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(User(1001, "robert")), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(User(4001, "bob")), Reason::kEnrollmentNotAllowed);  // has another uid by now
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
}

TEST_F(EnrollPolicy, DeniedUserIsNotKnown_NobodyEnrollsUntilHeIs) {
  Share denied = Named("former");
  denied.uid = kUnknownUid;
  Add().deny_enroll = {denied};
  EXPECT_EQ(Check(alice_), Reason::kEnrollmentNotAllowed);
  catalog_.policies[0].deny_enroll[0].uid = 1005;
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
}

TEST_F(EnrollPolicy, DeniedUnitOfAProcessThatIsNotHeld_IsDenied) {
  Share unit;
  unit.principal = "unit:batch.service";
  unit.unit = "batch.service";
  unit.policy = "smartkeyd.toml:7";
  Add().deny_enroll = {unit};
  Caller caller = alice_;
  caller.system_unit = "batch.service";
  EXPECT_EQ(Check(caller), Reason::kEnrollmentNotAllowed);
  caller.pid_pinned = true;
  EXPECT_EQ(Check(caller), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
}

TEST_F(EnrollPolicy, DeniedGroupIsNotKnown_NobodyEnrollsUntilItIs) {
  Share group;
  group.principal = "group:guests";
  group.gid = kUnknownGid;
  group.policy = "smartkeyd.toml:7";
  Policy& policy = Add();
  policy.deny_enroll = {group};
  EXPECT_EQ(Check(alice_), Reason::kEnrollmentNotAllowed);
  policy.deny_enroll[0].gid = 2000;
  EXPECT_EQ(Check(alice_), Reason::kUnspecified);
}

TEST_F(EnrollPolicy, FirstThatIsOfBothAndSaysWho_Decides) {
  Add().max_registrations_per_owner = 3;  // says not who
  Policy& mercy = Add();
  mercy.servers = {"mercy"};
  mercy.allow_enroll = Policy::Allowed{false, {Named("alice")}};
  Add().allow_enroll = Policy::Allowed{false, {Named("bob")}};
  EXPECT_EQ(Check(alice_, "mercy"), Reason::kUnspecified);
  EXPECT_EQ(Check(bob_, "mercy"), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(bob_, "clinic"), Reason::kUnspecified);
  EXPECT_EQ(Check(alice_, "clinic"), Reason::kEnrollmentNotAllowed);
}

TEST_F(EnrollPolicy, DynamicUser_NeverOwns) {
  Add().allow_enroll = Policy::Allowed{true, {Named("viewer")}};
  EXPECT_EQ(Check(User(61184, "viewer")), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(User(65519, "viewer")), Reason::kEnrollmentNotAllowed);
  EXPECT_EQ(Check(User(65520, "viewer")), Reason::kUnspecified);
}

// With a store, through AccessPolicy.
class PolicyInForce : public testing::Test {
 protected:
  PolicyInForce() { Add("r1", "mercy"); }

  void Add(const std::string& id, const std::string& server) {
    Registration registration;
    registration.id = id;
    registration.owner_uid = alice_.uid;
    registration.owner_name = "alice";
    registration.name = Identifying(id);
    registration.server_name = server;
    registration.fhir_base = "https://" + server + ".example";
    registration.app_id = "org.example.viewer";
    registration.generations.emplace_back().state = GenerationState::kActive;
    store_.Insert(std::move(registration), [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  }

  void Set(const Policy& policy) {
    Catalog catalog;
    catalog.policies = {policy};
    for (const char* name : {"mercy", "clinic"}) {
      Server server;
      server.name = name;
      server.fhir_base = std::string("https://") + name + ".example";
      catalog.servers.push_back(server);
    }
    catalog_.Set(catalog);
  }

  const Caller alice_ = User(1000, "alice"), bob_ = User(1001, "bob");
  FakeClock clock_;
  CurrentCatalog catalog_{Catalog()};
  FakeRegistrationStore store_;
  AccessPolicy policy_{store_, catalog_, clock_};
};

TEST_F(PolicyInForce, ShareByPolicy_IsHisWhileItIsThere) {
  EXPECT_FALSE(policy_.Find(bob_, "r1", Operation::kToken).ok());
  Policy policy;
  policy.servers = {"mercy"};
  Share share = Named("bob");
  share.operations = {"token"};
  share.scopes = {"openid"};
  policy.shares = {share};
  Set(policy);
  EXPECT_TRUE(policy_.Find(bob_, "r1", Operation::kToken).ok());
  EXPECT_EQ(policy_.RightTo(bob_, *store_.Find("r1")).scopes, ScopeSet{"openid"});
  EXPECT_FALSE(policy_.Find(User(1002, "carol"), "r1", Operation::kToken).ok());
  EXPECT_THAT(Explain(policy_, bob_, *store_.Find("r1"), false, clock_.Now()).steps,
              Contains("share user:bob by smartkeyd.toml:7: allows token, for openid"));
  Add("r2", "clinic");
  EXPECT_FALSE(policy_.Find(bob_, "r2", Operation::kToken).ok());
  catalog_.Set(Catalog());
  EXPECT_FALSE(policy_.Find(bob_, "r1", Operation::kToken).ok());
}

TEST_F(PolicyInForce, ManagementByPolicy_IsNotPassedOn) {
  Policy policy;
  Share share = Named("bob");
  share.operations = {"token", "manage"};
  policy.shares = {share};
  Set(policy);
  Share to_carol = Named("carol");
  to_carol.operations = {"token"};
  EXPECT_EQ(ReasonOf(policy_.CheckShareBy(bob_, *store_.Find("r1"), to_carol).status()),
            Reason::kNotPermitted);
}

TEST_F(PolicyInForce, MoreRegistrationsThanOneMayHave_AreRefusedByServerAndApp) {
  Policy policy;
  policy.servers = {"mercy"};
  policy.max_registrations_per_owner = 2;
  policy.place = "smartkeyd.toml:7";
  Set(policy);
  const auto check = [&](const Caller& caller, const char* server) {
    return policy_.CheckEnroll(caller, server, "org.example.viewer");
  };
  EXPECT_TRUE(check(alice_, "mercy").ok());
  Add("r2", "mercy");
  EXPECT_EQ(ReasonOf(check(alice_, "mercy")), Reason::kTooManyRegistrations);
  EXPECT_THAT(std::string(check(alice_, "mercy").message()), HasSubstr("smartkeyd.toml:7"));
  EXPECT_TRUE(check(bob_, "mercy").ok());
  EXPECT_TRUE(check(alice_, "clinic").ok());
}

}  // namespace
}  // namespace smartkey
