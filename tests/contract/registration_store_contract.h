// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "daemon/store/registration_store.h"
#include "tests/contract/registration_equality.h"
#include "tests/contract/registration_samples.h"

namespace smartkey {

// What every RegistrationStore must do. A store passes by instantiating the suite in one test file:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, RegistrationStoreContract,
//                            testing::Values(StoreMaker{[] { return std::make_unique<...>(); }}));

// One installation: a store that can be closed and opened again on the same data.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual RegistrationStore& store() = 0;
  virtual void Restart() = 0;
};

using StoreMaker = std::function<std::unique_ptr<StoreUnderTest>()>;

class RegistrationStoreContract : public testing::TestWithParam<StoreMaker> {
 protected:
  RegistrationStore& store() { return installation_->store(); }
  void Restart() { installation_->Restart(); }

 private:
  std::unique_ptr<StoreUnderTest> installation_ = GetParam()();
};

TEST_P(RegistrationStoreContract, Insert_EveryFieldComesBackAlsoAfterARestart) {
  const Registration sample = SampleRegistration("r1");
  ASSERT_TRUE(InsertNow(store(), sample).ok());
  ASSERT_NE(store().Find("r1"), nullptr);
  ExpectEqual(*store().Find("r1"), sample);
  Restart();
  ASSERT_NE(store().Find("r1"), nullptr);
  ExpectEqual(*store().Find("r1"), sample);
}

TEST_P(RegistrationStoreContract, Insert_EmptyAndAbsentFieldsComeBackAsSuch) {
  Registration bare;
  bare.id = "bare";
  bare.generations.emplace_back();
  ASSERT_TRUE(InsertNow(store(), bare).ok());
  Restart();
  ASSERT_NE(store().Find("bare"), nullptr);
  ExpectEqual(*store().Find("bare"), bare);
  EXPECT_EQ(store().Find("bare")->newest().first_token_at, absl::InfinitePast());
}

TEST_P(RegistrationStoreContract, TimesFinerThanAMillisecond_AreTheSameBeforeAndAfterARestart) {
  Registration sample = SampleRegistration("r1");
  sample.created_at += absl::Nanoseconds(123'456);
  sample.generations[0].last_token_at += absl::Microseconds(1);
  sample.shares[0].ends_at += absl::Microseconds(999);
  sample.denials[1].until += absl::Microseconds(999);
  sample.suspension->since += absl::Nanoseconds(1);
  sample.generations[0].last_refusal_at += absl::Nanoseconds(1);
  sample.generations[0].ended_at += absl::Nanoseconds(1);
  sample.generations[0].access_for += absl::Milliseconds(1);
  sample.earlier_lifetimes[0] += absl::Milliseconds(999);
  ASSERT_TRUE(InsertNow(store(), sample).ok());
  const RegistrationStore::Snapshot before = store().Find("r1");
  Restart();
  ExpectEqual(*before, *store().Find("r1"));
}

TEST_P(RegistrationStoreContract, WhatAnOwnerHas_IsFoundByHisNameAlone) {
  const auto insert = [&](const std::string& id, uid_t uid, const std::string& owner) {
    Registration registration = SampleRegistration(id);
    registration.owner_uid = uid;
    registration.owner_name = owner;
    registration.name = Identifying("name-" + id);
    ASSERT_TRUE(InsertNow(store(), registration).ok());
  };
  insert("r1", 1000, "alice");
  insert("r2", 1001, "bob");
  insert("r3", 4000, "alice");  // a uid that the name had, or has now
  const auto ids = [&](absl::string_view owner) {
    std::string all;
    for (const auto& one : store().ListOwned(owner)) all += one->id + " ";
    return all;
  };
  EXPECT_EQ(ids("alice"), "r1 r3 ");
  EXPECT_EQ(ids("bob"), "r2 ");
  EXPECT_EQ(ids("bo"), "");
  ASSERT_NE(store().FindOwned(1000, "alice", "name-r1"), nullptr);
  EXPECT_EQ(store().FindOwned(1000, "alice", "name-r1")->id, "r1");
  EXPECT_EQ(store().FindOwned(4000, "alice", "name-r1"), nullptr);
  EXPECT_EQ(store().FindOwned(1000, "alice", "name-r3"), nullptr);
}

TEST_P(RegistrationStoreContract, AListing_StaysAsItWasAndTheNextOneIsNew) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  const RegistrationStore::Listing before = store().List();
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r2")).ok());
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.label = Identifying("another");
                return absl::OkStatus();
              }).ok());
  ASSERT_EQ(before.size(), 1u);
  EXPECT_NE(before[0]->label, Identifying("another"));
  const RegistrationStore::Listing after = store().List();
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0]->label, Identifying("another"));
}

TEST_P(RegistrationStoreContract, InsertThatMayNotBe_IsRefusedWhenItsTurnComes) {
  std::promise<absl::Status> told;
  store().Insert(
      SampleRegistration("r1"),
      [] { return MakeError(Reason::kTooManyRegistrations, "one too many"); },
      [&](absl::Status status) { told.set_value(std::move(status)); });
  EXPECT_EQ(ReasonOf(told.get_future().get()), Reason::kTooManyRegistrations);
  EXPECT_TRUE(store().List().empty());
}

TEST_P(RegistrationStoreContract, EveryChange_IsObservedOnceItCanBeFound) {
  std::vector<std::string> seen;
  store().Observe([&](const std::string& id) {
    const RegistrationStore::Snapshot now = store().Find(id);
    seen.push_back(id + (now == nullptr ? " gone" : " " + now->newest().client_id));
  });
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.generations.back().client_id = "another";
                return absl::OkStatus();
              }).ok());
  ASSERT_TRUE(RemoveNow(store(), "r1").ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"r1 client-r1-4", "r1 another", "r1 gone"}));

  store().Observe(nullptr);
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r2")).ok());
  EXPECT_EQ(seen.size(), 3u);
}

TEST_P(RegistrationStoreContract, WhatIsRefused_IsNotObserved) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  int seen = 0;
  store().Observe([&](const std::string&) { ++seen; });
  EXPECT_FALSE(InsertNow(store(), SampleRegistration("r1")).ok());
  EXPECT_FALSE(UpdateNow(store(), "r1", [](Registration&) {
                 return MakeError(Reason::kNotReady, "refused");
               }).ok());
  EXPECT_FALSE(UpdateNow(store(), "r9", [](Registration&) { return absl::OkStatus(); }).ok());
  EXPECT_FALSE(RemoveNow(store(), "r9").ok());
  EXPECT_EQ(seen, 0);
  store().Observe(nullptr);
}

TEST_P(RegistrationStoreContract, Find_AbsentIsNull) {
  EXPECT_EQ(store().Find("r1"), nullptr);
  EXPECT_EQ(store().Find(""), nullptr);
  EXPECT_EQ(store().FindByEnrollment("enrollment-r1-1"), nullptr);
  EXPECT_EQ(store().FindByEnrollment(""), nullptr);
  EXPECT_TRUE(store().List().empty());
}

TEST_P(RegistrationStoreContract, FindByEnrollment_KnowsEveryGeneration) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r2")).ok());
  for (const char* enrollment : {"enrollment-r2-1", "enrollment-r2-4"}) {
    ASSERT_NE(store().FindByEnrollment(enrollment), nullptr);
    EXPECT_EQ(store().FindByEnrollment(enrollment)->id, "r2");
  }
  Restart();
  ASSERT_NE(store().FindByEnrollment("enrollment-r1-4"), nullptr);
  EXPECT_EQ(store().FindByEnrollment("enrollment-r1-4")->id, "r1");
}

TEST_P(RegistrationStoreContract, List_IsInTheOrderOfCreation) {
  for (const auto& [id, second] :
       std::vector<std::pair<std::string, int>>{{"c", 1}, {"a", 3}, {"b", 2}}) {
    Registration sample = SampleRegistration(id);
    sample.created_at = absl::FromUnixSeconds(second);
    ASSERT_TRUE(InsertNow(store(), sample).ok());
  }
  for (int round = 0; round < 2; ++round) {
    const RegistrationStore::Listing all = store().List();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0]->id, "c");
    EXPECT_EQ(all[1]->id, "b");
    EXPECT_EQ(all[2]->id, "a");
    Restart();
  }
}

TEST_P(RegistrationStoreContract, Insert_NameOfTheSameOwnerIsTaken) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  Registration second = SampleRegistration("r2");
  second.name = SampleRegistration("r1").name;
  EXPECT_EQ(ReasonOf(InsertNow(store(), second)), Reason::kNameTaken);
  EXPECT_EQ(store().Find("r2"), nullptr);
}

TEST_P(RegistrationStoreContract, Insert_AnotherOwnerMayUseTheName) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  Registration other_uid = SampleRegistration("r2");
  other_uid.name = SampleRegistration("r1").name;
  other_uid.owner_uid = 7;
  EXPECT_TRUE(InsertNow(store(), other_uid).ok());
  // A recycled uid is another owner.
  Registration other_name = SampleRegistration("r3");
  other_name.name = SampleRegistration("r1").name;
  other_name.owner_name = "bob";
  EXPECT_TRUE(InsertNow(store(), other_name).ok());
}

TEST_P(RegistrationStoreContract, Insert_ClientIdOfAnotherRegistrationAtTheSameServerIsRefused) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  Registration second = SampleRegistration("r2");
  second.generations[1].client_id = "client-r1-1";
  EXPECT_EQ(ReasonOf(InsertNow(store(), second)), Reason::kDuplicateClientId);
  EXPECT_EQ(store().Find("r2"), nullptr);
  second.generations[1].token_endpoint = "https://elsewhere.example.com/token";
  EXPECT_TRUE(InsertNow(store(), second).ok());
}

TEST_P(RegistrationStoreContract, Update_ClientIdOfAnotherGenerationIsRefused) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  EXPECT_EQ(ReasonOf(UpdateNow(store(), "r1",
                               [](Registration& r) {
                                 r.generations[1].client_id = r.generations[0].client_id;
                                 return absl::OkStatus();
                               })
                         .status()),
            Reason::kDuplicateClientId);
}

TEST_P(RegistrationStoreContract, Insert_EmptyClientIdsDoNotCollide) {
  for (const char* id : {"r1", "r2"}) {
    Registration pending = SampleRegistration(id);
    for (Generation& generation : pending.generations) generation.client_id.clear();
    EXPECT_TRUE(InsertNow(store(), pending).ok());
  }
}

TEST_P(RegistrationStoreContract, Insert_UsedIdsAndBrokenRecordsAreRefused) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  Registration same_id = SampleRegistration("r2");
  same_id.id = "r1";
  EXPECT_EQ(ReasonOf(InsertNow(store(), same_id)), Reason::kInternal);
  Registration same_enrollment = SampleRegistration("r2");
  same_enrollment.generations[0].enrollment_id = "enrollment-r1-1";
  EXPECT_EQ(ReasonOf(InsertNow(store(), same_enrollment)), Reason::kInternal);
  Registration no_generation = SampleRegistration("r2");
  no_generation.generations.clear();
  EXPECT_EQ(ReasonOf(InsertNow(store(), no_generation)), Reason::kInternal);
  Registration disorder = SampleRegistration("r2");
  disorder.generations[1].number = 1;
  EXPECT_EQ(ReasonOf(InsertNow(store(), disorder)), Reason::kInternal);
  EXPECT_EQ(store().List().size(), 1u);
  EXPECT_TRUE(store().health().ok());
}

TEST_P(RegistrationStoreContract, Update_ChangesAndOldSnapshotsStayAsTheyWere) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  const RegistrationStore::Snapshot old = store().Find("r1");
  const absl::StatusOr<RegistrationStore::Snapshot> updated =
      UpdateNow(store(), "r1", [](Registration& r) {
        r.label = Identifying("new label");
        r.suspension.reset();
        r.generations.push_back(SampleGeneration("r1", 5));
        r.generations.erase(r.generations.begin());
        r.shares.erase(r.shares.begin());
        return absl::OkStatus();
      });
  ASSERT_TRUE(updated.ok()) << updated.status();
  ExpectEqual(*old, SampleRegistration("r1"));
  ExpectEqual(**updated, *store().Find("r1"));
  Restart();
  const RegistrationStore::Snapshot now = store().Find("r1");
  ExpectEqual(**updated, *now);
  EXPECT_TRUE(now->label == Identifying("new label"));
  EXPECT_FALSE(now->suspension.has_value());
  ASSERT_EQ(now->generations.size(), 2u);
  EXPECT_EQ(now->generations[0].number, 4);
  EXPECT_EQ(now->generations[1].number, 5);
  ASSERT_EQ(now->shares.size(), 1u);
  EXPECT_EQ(now->shares[0].id, "share-a-r1");
  EXPECT_EQ(store().FindByEnrollment("enrollment-r1-1"), nullptr);
  EXPECT_NE(store().FindByEnrollment("enrollment-r1-5"), nullptr);
}

TEST_P(RegistrationStoreContract, Update_FreesWhatItGivesUp) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  ASSERT_TRUE(UpdateNow(store(), "r1", [](Registration& r) {
                r.name = Identifying("another");
                r.generations[0].client_id = "another";
                r.generations[0].enrollment_id = "another";
                return absl::OkStatus();
              }).ok());
  Registration second = SampleRegistration("r2");
  second.name = SampleRegistration("r1").name;
  second.generations[0].client_id = "client-r1-1";
  second.generations[0].enrollment_id = "enrollment-r1-1";
  EXPECT_TRUE(InsertNow(store(), second).ok());
}

TEST_P(RegistrationStoreContract, Update_RefusedByChange_NothingIsWritten) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  EXPECT_EQ(ReasonOf(UpdateNow(store(), "r1",
                               [](Registration& r) {
                                 r.app_id = "changed";
                                 return MakeError(Reason::kDeleting, "it is being deleted");
                               })
                         .status()),
            Reason::kDeleting);
  ExpectEqual(*store().Find("r1"), SampleRegistration("r1"));
  Restart();
  ExpectEqual(*store().Find("r1"), SampleRegistration("r1"));
}

TEST_P(RegistrationStoreContract, Update_IdStaysAndNamesAreStillUnique) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r2")).ok());
  const auto reason_of = [&](absl::AnyInvocable<void(Registration&)> change) {
    return ReasonOf(UpdateNow(store(), "r1", [&](Registration& r) {
                      change(r);
                      return absl::OkStatus();
                    }).status());
  };
  EXPECT_EQ(reason_of([](Registration& r) { r.id = "r3"; }), Reason::kInternal);
  EXPECT_EQ(reason_of([](Registration& r) { r.generations.clear(); }), Reason::kInternal);
  EXPECT_EQ(reason_of([](Registration& r) { r.name = Identifying("name-r2"); }),
            Reason::kNameTaken);
  ExpectEqual(*store().Find("r1"), SampleRegistration("r1"));
}

TEST_P(RegistrationStoreContract, Update_AnotherOwnerMayHaveItUnlessHeHasTheName) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  Registration his = SampleRegistration("r2");
  his.owner_uid = 7;
  his.owner_name = "bob";
  his.name = SampleRegistration("r1").name;
  ASSERT_TRUE(InsertNow(store(), his).ok());
  const auto give_to = [&](uid_t uid, const std::string& name) {
    return ReasonOf(UpdateNow(store(), "r1", [&](Registration& r) {
                      r.owner_uid = uid;
                      r.owner_name = name;
                      return absl::OkStatus();
                    }).status());
  };
  EXPECT_EQ(give_to(7, "bob"), Reason::kNameTaken);
  EXPECT_EQ(give_to(7, "robert"), Reason::kUnspecified);
  // Its first owner may have the name again.
  Registration again = SampleRegistration("r3");
  again.name = SampleRegistration("r1").name;
  EXPECT_TRUE(InsertNow(store(), again).ok());
  Restart();
  EXPECT_EQ(store().Find("r1")->owner_name, "robert");
  EXPECT_EQ(store().Find("r1")->owner_uid, 7u);
}

TEST_P(RegistrationStoreContract, UpdateAndRemove_AbsentIsNotFound) {
  EXPECT_EQ(
      ReasonOf(UpdateNow(store(), "r1", [](Registration&) { return absl::OkStatus(); }).status()),
      Reason::kRegistrationNotFound);
  EXPECT_EQ(ReasonOf(RemoveNow(store(), "r1")), Reason::kRegistrationNotFound);
}

TEST_P(RegistrationStoreContract, Remove_ItAndAllThatPointsToItIsGone) {
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
  ASSERT_TRUE(InsertNow(store(), SampleRegistration("r2")).ok());
  ASSERT_TRUE(RemoveNow(store(), "r1").ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store().Find("r1"), nullptr);
    EXPECT_EQ(store().FindByEnrollment("enrollment-r1-1"), nullptr);
    ASSERT_NE(store().Find("r2"), nullptr);
    ExpectEqual(*store().Find("r2"), SampleRegistration("r2"));
    Restart();
  }
  EXPECT_TRUE(InsertNow(store(), SampleRegistration("r1")).ok());
}

TEST_P(RegistrationStoreContract, ConcurrentUpdates_NoneIsLost) {
  Registration sample = SampleRegistration("r1");
  sample.generations[0].refusals = 0;
  ASSERT_TRUE(InsertNow(store(), sample).ok());
  constexpr int kThreads = 4, kEach = 10;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j) {
        const bool ok = UpdateNow(store(), "r1", [](Registration& r) {
                          ++r.generations[0].refusals;
                          return absl::OkStatus();
                        }).ok();
        if (!ok) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(store().Find("r1")->generations[0].refusals, kThreads * kEach);
}

TEST_P(RegistrationStoreContract, DoneMayStartTheNextWrite) {
  std::promise<absl::Status> done;
  store().Insert(SampleRegistration("r1"), [&](absl::Status first) {
    ASSERT_TRUE(first.ok());
    EXPECT_NE(store().Find("r1"), nullptr);
    store().Remove("r1", [&](absl::Status second) { done.set_value(second); });
  });
  EXPECT_TRUE(done.get_future().get().ok());
  EXPECT_EQ(store().Find("r1"), nullptr);
}

TEST_P(RegistrationStoreContract, InstanceIdStaysTheSame) {
  const std::string id = store().instance_id();
  EXPECT_FALSE(id.empty());
  Restart();
  EXPECT_EQ(store().instance_id(), id);
}

}  // namespace smartkey
