// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/access/principal.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Words = std::vector<std::string>;

TEST(CleanReason, WhatCouldMoveATerminalOrTurnItsText_BecomesBlank) {
  EXPECT_EQ(CleanReason("Mum's \xc3\xa4rztin").value(), "Mum's \xc3\xa4rztin");
  EXPECT_EQ(CleanReason("a\x1b[2Jb\n\x7f").value(), "a [2Jb  ");
  EXPECT_EQ(CleanReason("x\xc2\x9by\u202ez\u2066").value(), "x y z ");
  EXPECT_EQ(CleanReason("\xff\xc3(\xed\xa0\x80").value(),
            "?"
            "?(???");
  EXPECT_EQ(CleanReason("\xf0\x9f\x98\x80\xf0\x9f").value(), "\xf0\x9f\x98\x80??");
}

TEST(CleanReason, EightyCharactersInAnyScript_AndNotOneMore) {
  std::string text;
  for (int i = 0; i < 80; ++i) text += "\xe4\xb8\xad";
  EXPECT_EQ(CleanReason(text).value(), text);
  EXPECT_EQ(ReasonOf(CleanReason(text + "x").status()), Reason::kInvalidArgument);
}

class AccessRequestsTest : public testing::Test {
 protected:
  AccessRequestsTest() { Add("r1", "mercy"); }

  void Add(const std::string& id, const std::string& name) {
    Registration registration;
    registration.id = id;
    registration.owner_uid = alice_.uid;
    registration.owner_name = "alice";
    registration.name = Identifying(name);
    registration.app_id = "org.example.viewer";
    registration.fhir_base = "https://ehr.example/fhir";
    registration.generations.emplace_back().state = GenerationState::kActive;
    registration.generations.back().granted_scope = "openid patient/*.rs";
    store_.Insert(std::move(registration), [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  }

  static AccessWish WishFor(std::string registration, OperationSet operations = {Operation::kToken},
                            ScopeSet scopes = {}) {
    AccessWish wish;
    wish.owner = "alice";
    wish.registration = std::move(registration);
    wish.operations = operations;
    wish.scopes = std::move(scopes);
    wish.reason = Identifying("for my viewer");
    return wish;
  }

  AccessRequests::WatchId Ask(const Caller& caller, AccessWish wish) {
    const auto watch = requests_.Ask(caller, std::move(wish), [this] { ++wakes_; });
    EXPECT_TRUE(watch.ok()) << watch.status();
    return watch.value_or(0);
  }

  Reason Refusal(const Caller& caller, AccessWish wish) {
    return ReasonOf(requests_.Ask(caller, std::move(wish), [] {}).status());
  }

  // All that there is to be told now.
  Words Told(AccessRequests::WatchId watch) {
    scheduler_.RunDue();
    Words words;
    for (;;) {
      const auto answer = requests_.Next(watch);
      if (!answer.ok()) {
        words.emplace_back(ReasonName(ReasonOf(answer.status())));
        return words;
      }
      if (!answer->has_value()) return words;
      request_id_ = (*answer)->request_id;
      static constexpr const char* kStates[] = {"", "pending", "approved", "denied", "lapsed"};
      words.push_back(absl::StrCat(kStates[static_cast<int>((*answer)->state)], " ",
                                   (*answer)->registration_id));
    }
  }

  std::string IdOf(const Caller& owner, size_t index = 0) const {
    const std::vector<AccessRequest> all = requests_.List(owner);
    return index < all.size() ? all[index].id : "";
  }

  std::string Approve(const Caller& caller, const std::string& id, Share terms = Share()) {
    std::string how = "never";
    terms.id = absl::StrCat("share-", ++shares_);
    requests_.Approve(caller, id, std::move(terms),
                      [&](absl::StatusOr<AccessRequests::Approval> made) {
                        how = made.ok() ? DescribeTerms(made->share)
                                        : std::string(ReasonName(ReasonOf(made.status())));
                      });
    return how;
  }

  std::string Deny(const Caller& caller, const std::string& id, bool always = false) {
    std::string how = "never";
    requests_.Deny(caller, id, always, [&](absl::StatusOr<AccessRequest> denied) {
      how = denied.ok() ? "ok" : std::string(ReasonName(ReasonOf(denied.status())));
    });
    return how;
  }

  bool MayHaveToken(const Caller& caller, const std::string& id = "r1") const {
    return policy_.Find(caller, id, Operation::kToken).ok();
  }

  const Caller alice_ = User(1000, "alice"), bob_ = User(1001, "bob"), carol_ = User(1002, "carol");
  FakeClock clock_;
  FakeScheduler scheduler_{clock_};
  FakeRegistrationStore store_;
  CurrentCatalog catalog_{Catalog()};
  AccessPolicy policy_{store_, catalog_, clock_};
  AccessRequests requests_{store_, policy_, scheduler_, clock_};
  int wakes_ = 0;
  int shares_ = 0;
  std::string request_id_;
};

TEST_F(AccessRequestsTest, Approved_HeHasWhatHeAskedForAndIsTold) {
  const auto watch = Ask(bob_, WishFor("mercy", {Operation::kToken}, {"openid"}));
  EXPECT_THAT(Told(watch), ElementsAre("pending "));
  const std::vector<AccessRequest> seen = requests_.List(alice_);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].id, request_id_);
  EXPECT_EQ(seen[0].principal, "user:bob");
  EXPECT_EQ(seen[0].registration_id, "r1");
  EXPECT_EQ(seen[0].reason.RevealIdentifying(), "for my viewer");
  EXPECT_FALSE(MayHaveToken(bob_));

  EXPECT_EQ(Approve(alice_, seen[0].id), "allows token, for openid");
  EXPECT_TRUE(MayHaveToken(bob_));
  EXPECT_THAT(Told(watch), ElementsAre("approved r1", "CANCELLED"));
  EXPECT_EQ(wakes_, 1);
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
  EXPECT_EQ(Approve(alice_, seen[0].id), "ACCESS_REQUEST_NOT_FOUND");
}

TEST_F(AccessRequestsTest, ForWhatDoesNotExist_NothingTellsItApart) {
  const auto none = Ask(bob_, WishFor("no-such"));
  AccessWish of_nobody = WishFor("mercy");
  of_nobody.owner = "nobody-at-all";
  const auto nobody = Ask(bob_, of_nobody);
  const auto real = Ask(bob_, WishFor("mercy"));
  for (const auto watch : {none, nobody, real}) EXPECT_THAT(Told(watch), ElementsAre("pending "));
  EXPECT_EQ(requests_.List(alice_).size(), 1u);
  scheduler_.Advance(AccessRequests::kLifetime);
  for (const auto watch : {none, nobody, real}) {
    EXPECT_THAT(Told(watch), ElementsAre("lapsed ", "CANCELLED"));
  }
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
}

TEST_F(AccessRequestsTest, Denied_HeIsToldAndTheOwnerHasADayOfSilence) {
  const auto watch = Ask(bob_, WishFor("mercy"));
  const auto wider = Ask(bob_, WishFor("mercy", {Operation::kToken, Operation::kJwt}));
  EXPECT_EQ(Deny(alice_, IdOf(alice_)), "ok");
  EXPECT_THAT(Told(watch), ElementsAre("pending ", "denied ", "CANCELLED"));
  EXPECT_THAT(Told(Ask(bob_, WishFor("mercy"))), ElementsAre("pending ", "denied ", "CANCELLED"));
  EXPECT_THAT(Told(wider), ElementsAre("pending "));
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
  Ask(carol_, WishFor("mercy"));
  EXPECT_EQ(requests_.List(alice_).size(), 1u);  // others may ask
  clock_.Advance(AccessRequests::kSilence);
  Ask(bob_, WishFor("mercy"));
  EXPECT_EQ(requests_.List(alice_).size(), 3u);  // with the one that stayed unanswered
}

// To be told no of one guess, or that two are one request, would say that the others mean the same.
TEST_F(AccessRequestsTest, GuessesAtOneRegistration_NothingTellsThatTheyMeanTheSame) {
  AccessWish by_app = WishFor("");
  by_app.app = "org.example.viewer";
  by_app.fhir_base = "https://ehr.example/fhir";
  std::vector<AccessRequests::WatchId> others;
  const auto by_name = Ask(bob_, WishFor("mercy"));
  Told(by_name);
  const std::string id = request_id_;
  for (const AccessWish& wish : {WishFor("r1"), by_app, WishFor("no-such")}) {
    others.push_back(Ask(bob_, wish));
    EXPECT_THAT(Told(others.back()), ElementsAre("pending "));
    EXPECT_NE(request_id_, id);
  }
  EXPECT_EQ(requests_.List(alice_).size(), 3u);
  EXPECT_EQ(Deny(alice_, id), "ok");
  EXPECT_THAT(Told(by_name), ElementsAre("denied ", "CANCELLED"));
  for (const auto watch : others) EXPECT_THAT(Told(watch), IsEmpty());
  EXPECT_THAT(requests_.List(alice_), IsEmpty());  // silence is about the registration
}

TEST_F(AccessRequestsTest, WhatIsMadeLater_IsFoundWhenTheOwnerLooks) {
  const auto watch = Ask(bob_, WishFor("later"));
  EXPECT_THAT(Told(watch), ElementsAre("pending "));
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
  Add("r2", "later");
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token");
  EXPECT_THAT(Told(watch), ElementsAre("approved r2", "CANCELLED"));
}

// Alice lets the manager have tokens and manage until tomorrow; he passes tokens on to Bob; Alice
// approves something narrow without an end.
TEST_F(AccessRequestsTest, ApprovedOverWhatWasPassedOn_HeHasWhatTheOwnerSaysAndNoMore) {
  const Caller manager = User(1003, "mgr");
  const auto share = [&](const Caller& by, Share one, const Caller& with,
                         std::vector<std::string> operations) {
    one.principal = ShareFor(with).principal;
    one.uid = with.uid;
    one.user_name = with.user_name;
    one.operations = std::move(operations);
    one.ends_at = clock_.Now() + absl::Hours(24);
    store_.Update(
        "r1",
        [&](Registration& registration) -> absl::Status {
          absl::StatusOr<std::string> under = policy_.CheckShareBy(by, registration, one);
          if (!under.ok()) return under.status();
          one.made_under = *under;
          return PutShare(registration, one);
        },
        [](const auto& updated) { EXPECT_TRUE(updated.ok()) << updated.status(); });
  };
  Share managers, bobs;
  managers.id = "M";
  bobs.id = "B";
  share(alice_, managers, manager, {"token", "manage"});
  share(manager, bobs, bob_, {"token"});

  const auto scopes_of_bob = [&] { return *policy_.RightTo(bob_, *store_.Find("r1")).scopes; };
  AccessWish narrow = WishFor("mercy", {Operation::kToken, Operation::kJwt}, {"openid"});
  Ask(bob_, narrow);
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token, jwt, for openid");
  EXPECT_EQ(scopes_of_bob(), ScopeSet{"openid"});
  clock_.Advance(absl::Hours(48));
  EXPECT_EQ(scopes_of_bob(), ScopeSet{"openid"});
}

TEST_F(AccessRequestsTest, DeniedForGood_OutlivesADayAndARestartUntilTheOwnerShares) {
  Ask(bob_, WishFor("mercy"));
  EXPECT_EQ(Deny(alice_, IdOf(alice_), true), "ok");
  clock_.Advance(absl::Hours(24 * 400));
  FakeRegistrationStore store(store_.Contents());
  AccessPolicy policy(store, catalog_, clock_);
  AccessRequests requests(store, policy, scheduler_, clock_);
  ASSERT_TRUE(requests.Ask(bob_, WishFor("mercy"), [] {}).ok());
  EXPECT_THAT(requests.List(alice_), IsEmpty());
  // Another login with his uid is somebody else.
  ASSERT_TRUE(requests.Ask(User(1001, "robert"), WishFor("mercy"), [] {}).ok());
  EXPECT_EQ(requests.List(alice_).size(), 1u);

  Registration registration = *store_.Find("r1");
  Share share = ShareFor(bob_);
  share.operations = {"token"};
  ASSERT_TRUE(PutShare(registration, share).ok());
  EXPECT_THAT(registration.denials, IsEmpty());
}

TEST_F(AccessRequestsTest, OnlyWhoManagesIt_SeesAndDecides) {
  Ask(bob_, WishFor("mercy"));
  const std::string id = IdOf(alice_);
  for (const Caller& caller : {bob_, carol_, User(0, "root")}) {
    EXPECT_THAT(requests_.List(caller), IsEmpty());
    EXPECT_EQ(Approve(caller, id), "ACCESS_REQUEST_NOT_FOUND");
    EXPECT_EQ(Deny(caller, id), "ACCESS_REQUEST_NOT_FOUND");
  }
  EXPECT_EQ(requests_.List(Administrator()).size(), 1u);
  EXPECT_EQ(Approve(Administrator(), id), "allows token");
}

TEST_F(AccessRequestsTest, ManagerByAShare_ApprovesAPartOfItAndUnderIt) {
  store_.Update(
      "r1",
      [&](Registration& registration) {
        Share share = ShareFor(carol_);
        share.id = "carols";
        share.operations = {"token", "manage"};
        share.scopes = {"openid"};
        return PutShare(registration, share);
      },
      [](const auto& updated) { EXPECT_TRUE(updated.ok()); });
  Ask(bob_, WishFor("mercy"));
  EXPECT_EQ(Approve(carol_, IdOf(carol_)), "NOT_PERMITTED");  // all scopes
  Share terms;
  terms.scopes = {"openid"};
  EXPECT_EQ(Approve(carol_, IdOf(carol_), terms), "allows token, for openid");
  EXPECT_EQ(store_.Find("r1")->shares.back().made_under, "carols");
}

TEST_F(AccessRequestsTest, Approval_AddsToWhatHeHasAndMaySayLess) {
  Ask(bob_, WishFor("mercy", {Operation::kToken}, {"openid"}));
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token, for openid");
  Ask(bob_, WishFor("mercy", {Operation::kToken, Operation::kJwt}));
  Share terms;
  terms.scopes = {"patient/*.rs"};
  terms.operations = {"token"};
  EXPECT_EQ(Approve(alice_, IdOf(alice_), terms), "allows token, for openid patient/*.rs");
  Ask(bob_, WishFor("mercy", {Operation::kJwt}));
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token, jwt, for openid patient/*.rs");
  EXPECT_EQ(store_.Find("r1")->shares.size(), 1u);
  Share wrong;
  wrong.scopes = {"user/*.cruds"};
  Ask(bob_, WishFor("mercy", {Operation::kToken}));
  EXPECT_EQ(Approve(alice_, IdOf(alice_), wrong), "INVALID_ARGUMENT");
  EXPECT_EQ(requests_.List(alice_).size(), 1u);  // and may be decided better
}

TEST_F(AccessRequestsTest, AskedForAgain_IsTheSameRequest) {
  const auto first = Ask(bob_, WishFor("mercy"));
  Told(first);
  const std::string id = request_id_;
  const auto second = Ask(bob_, WishFor("mercy"));
  Told(second);
  EXPECT_EQ(request_id_, id);
  requests_.Leave(first);
  EXPECT_EQ(requests_.List(alice_).size(), 1u);  // nobody has to wait for it to stay open
  EXPECT_EQ(Approve(alice_, id), "allows token");
  EXPECT_THAT(Told(second), ElementsAre("approved r1", "CANCELLED"));
}

TEST_F(AccessRequestsTest, WhatHeHasAlready_IsApprovedAtOnce) {
  EXPECT_THAT(Told(Ask(alice_, WishFor("mercy"))),
              ElementsAre("pending ", "approved r1", "CANCELLED"));
}

TEST_F(AccessRequestsTest, ByAppAndFhirBase_TheOneThatFits) {
  AccessWish wish = WishFor("");
  wish.app = "org.example.viewer";
  wish.fhir_base = "https://ehr.example/fhir";
  Ask(bob_, wish);
  ASSERT_EQ(requests_.List(alice_).size(), 1u);
  EXPECT_EQ(requests_.List(alice_)[0].registration_id, "r1");
  wish.app = "org.example.other";
  Ask(bob_, wish);
  EXPECT_EQ(requests_.List(alice_).size(), 1u);
}

TEST_F(AccessRequestsTest, ManyOfOneUser_AreRefusedAndOthersAreNot) {
  for (int i = 0; i < AccessRequests::kMaxPerUid; ++i) Ask(bob_, WishFor(absl::StrCat("n", i)));
  EXPECT_EQ(Refusal(bob_, WishFor("mercy")), Reason::kRateLimited);
  Ask(bob_, WishFor("n0"));  // the same one again is none more
  Ask(carol_, WishFor("mercy"));
  scheduler_.Advance(AccessRequests::kLifetime);
  Ask(bob_, WishFor("mercy"));
}

TEST_F(AccessRequestsTest, WhoMayNotAsk_IsToldWhy) {
  Caller contained = bob_;
  contained.in_container = true;
  EXPECT_EQ(Refusal(contained, WishFor("mercy")), Reason::kContainerDenied);
  EXPECT_EQ(Refusal(User(65534, "nobody"), WishFor("mercy")), Reason::kCallerUnidentified);
  EXPECT_EQ(Refusal(Administrator(), WishFor("mercy")), Reason::kNotPermitted);
  Ask(User(4001, ""), WishFor("mercy"));  // a service without a login
  EXPECT_EQ(requests_.List(alice_)[0].principal, "uid:4001");
}

TEST_F(AccessRequestsTest, DeletedMeanwhile_TheRequestCannotBeDecidedAny) {
  const auto watch = Ask(bob_, WishFor("mercy"));
  const std::string id = IdOf(alice_);
  store_.Remove("r1", [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
  EXPECT_EQ(Approve(alice_, id), "ACCESS_REQUEST_NOT_FOUND");
  EXPECT_THAT(Told(watch), ElementsAre("pending "));
}

TEST_F(AccessRequestsTest, DecidedTwiceAtOnce_TheFirstOneCounts) {
  const auto watch = Ask(bob_, WishFor("mercy"));
  const std::string id = IdOf(alice_);
  store_.Hold();
  std::string denied;
  requests_.Deny(alice_, id, false, [&](absl::StatusOr<AccessRequest> done) {
    denied = std::string(ReasonName(ReasonOf(done.status())));
  });
  std::string approved;
  requests_.Approve(alice_, id, Share(), [&](absl::StatusOr<AccessRequests::Approval> made) {
    approved = std::string(ReasonName(ReasonOf(made.status())));
  });
  store_.Release();
  EXPECT_EQ(denied, ReasonName(Reason::kUnspecified));
  EXPECT_EQ(approved, "ACCESS_REQUEST_NOT_FOUND");
  EXPECT_THAT(Told(watch), ElementsAre("pending ", "denied ", "CANCELLED"));
  EXPECT_FALSE(MayHaveToken(bob_));
}

TEST_F(AccessRequestsTest, DiskFull_NothingIsDecidedAndTheRequestStays) {
  Ask(bob_, WishFor("mercy"));
  store_.FailWrites(MakeError(Reason::kStoreFull, "disk full"));
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "STORE_FULL");
  EXPECT_EQ(Deny(alice_, IdOf(alice_)), "STORE_FULL");
  store_.FailWrites(absl::OkStatus());
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token");
}

TEST_F(AccessRequestsTest, Decided_LeavesNothingBehindThatWaits) {
  const int before = scheduler_.pending();
  Ask(bob_, WishFor("mercy"));
  EXPECT_EQ(scheduler_.pending(), before + 1);
  EXPECT_EQ(Approve(alice_, IdOf(alice_)), "allows token");
  scheduler_.RunDue();  // who waits is woken
  EXPECT_EQ(scheduler_.pending(), before);
}

TEST_F(AccessRequestsTest, OpenAlthoughDenied_TheOwnerIsLeftInPeace) {
  Ask(bob_, WishFor("mercy"));
  // As if it had been asked for while the denial of another one was being written down.
  store_.Update(
      "r1",
      [&](Registration& registration) {
        PutDenial(registration, {bob_.uid, "bob", clock_.Now()}, clock_.Now());
        return absl::OkStatus();
      },
      [](const auto& updated) { EXPECT_TRUE(updated.ok()); });
  EXPECT_THAT(requests_.List(alice_), IsEmpty());
}

TEST_F(AccessRequestsTest, Stopped_WhoeverWaitsIsTold) {
  const auto watch = Ask(bob_, WishFor("mercy"));
  Told(watch);
  requests_.Stop();
  scheduler_.RunDue();
  EXPECT_EQ(wakes_, 1);
  EXPECT_THAT(Told(watch), ElementsAre("SHUTTING_DOWN"));
  EXPECT_EQ(Refusal(carol_, WishFor("mercy")), Reason::kShuttingDown);
}

}  // namespace
}  // namespace smartkey
