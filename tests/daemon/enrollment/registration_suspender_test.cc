// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_suspender.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

using Ids = std::vector<std::string>;
using Kind = RegistrationTarget::Kind;

class RegistrationSuspenderTest : public EnrollmentTest {
 protected:
  static Caller Admin() {
    Caller admin = User(0, "root");
    admin.admin = true;
    return admin;
  }

  RegistrationSuspender Suspender() {
    return RegistrationSuspender(store(), daemon_->access, daemon_->tokens, clock_);
  }
  absl::StatusOr<Ids> Suspend(const Caller& caller, const RegistrationTarget& target,
                              std::string why = "") {
    absl::StatusOr<Ids> changed = absl::UnknownError("no answer yet");
    Suspender().Suspend(caller, target, std::move(why),
                        [&](absl::StatusOr<Ids> result) { changed = std::move(result); });
    return changed;
  }
  absl::StatusOr<RegistrationSuspender::Resumed> Resume(const Caller& caller,
                                                        const RegistrationTarget& target) {
    absl::StatusOr<RegistrationSuspender::Resumed> changed = absl::UnknownError("no answer yet");
    Suspender().Resume(caller, target, [&](absl::StatusOr<RegistrationSuspender::Resumed> result) {
      changed = std::move(result);
    });
    return changed;
  }
  static RegistrationTarget One(const std::string& id) { return {Kind::kRegistration, id}; }

  // By whoever `caller` is.
  std::string EnrollAs(const Caller& caller) {
    const auto begun = Begin(Request(), caller);
    EXPECT_TRUE(begun.ok()) << begun.status();
    const auto enrolled = Complete(begun->enrollment_id, RedirectOf(*begun), caller);
    EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
    return begun->registration_id;
  }
  bool IsSuspended(const std::string& id) { return store().Find(id)->suspension.has_value(); }
};

TEST_F(RegistrationSuspenderTest, OwnerSuspends_NoTokenComesUntilItIsResumed) {
  const auto id = Enroll()->id;
  EXPECT_EQ(*Suspend(Alice(), One(id), "lost laptop"), Ids{id});
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 0);
  const Suspension suspension = *store().Find(id)->suspension;
  EXPECT_EQ(suspension.by_uid, 1000u);
  EXPECT_EQ(suspension.by_name, "alice");
  EXPECT_FALSE(suspension.by_administrator);
  EXPECT_EQ(suspension.why, "lost laptop");
  EXPECT_EQ(suspension.since, clock_.Now());

  const auto resumed = Resume(Alice(), One(id));
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->ids, Ids{id});
  EXPECT_TRUE(absl::StartsWith(TokenFor(id), kAccessToken));
}

TEST_F(RegistrationSuspenderTest, DaemonIsKilled_ItIsStillSuspended) {
  const auto id = Enroll()->id;
  ASSERT_TRUE(Suspend(Alice(), One(id), "lost laptop").ok());
  Restart();
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
  EXPECT_EQ(store().Find(id)->suspension->why, "lost laptop");
}

TEST_F(RegistrationSuspenderTest, TokenIsOnItsWay_IsNotHandedOutWhenItComes) {
  const auto id = Enroll()->id;
  daemon_->tokens.Forget(id);
  daemon_->http.Hold();
  absl::optional<absl::StatusOr<TokenResult>> told;
  daemon_->tokens.GetAccessToken(
      TokenRequest{.registration_id = id}, BootTime::InfiniteFuture(),
      [&](absl::StatusOr<TokenResult> result) { told = std::move(result); });
  ASSERT_FALSE(told.has_value());
  ASSERT_TRUE(Suspend(Alice(), One(id)).ok());
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(ReasonOf(told->status()), Reason::kSuspended);
  daemon_->http.Hold(false);
  daemon_->http.ReleaseAll();
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 0);
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
}

TEST_F(RegistrationSuspenderTest, DiskIsSlow_NothingHasChangedBefore) {
  const auto id = Enroll()->id;
  store().Hold();
  absl::optional<absl::StatusOr<Ids>> answered;
  RegistrationSuspender suspender = Suspender();
  suspender.Suspend(Alice(), One(id), "",
                    [&](absl::StatusOr<Ids> result) { answered = std::move(result); });
  EXPECT_FALSE(answered.has_value());
  EXPECT_TRUE(absl::StartsWith(TokenFor(id), kAccessToken));
  store().Release();
  EXPECT_TRUE(answered.has_value() && answered->ok());
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
}

TEST_F(RegistrationSuspenderTest, StoreFailsInTheMiddle_IsSaidAndTheSameCallGoesOn) {
  const auto first = Enroll()->id, second = Enroll()->id;
  store().FailWritesAfter(1, MakeError(Reason::kStoreFull, "full"));
  EXPECT_EQ(ReasonOf(Suspend(Alice(), {Kind::kAll, ""}).status()), Reason::kStoreFull);
  EXPECT_NE(IsSuspended(first), IsSuspended(second));
  store().FailWrites(absl::OkStatus());
  EXPECT_EQ(Suspend(Alice(), {Kind::kAll, ""})->size(), 1u);
  EXPECT_TRUE(IsSuspended(first) && IsSuspended(second));
}

TEST_F(RegistrationSuspenderTest, AdministratorSuspended_OnlyAnAdministratorResumes) {
  const auto id = Enroll()->id;
  EXPECT_EQ(*Suspend(Admin(), One(id), "incident 7"), Ids{id});
  EXPECT_TRUE(store().Find(id)->suspension->by_administrator);
  const auto refused = Resume(Alice(), One(id));
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kNotPermitted);
  EXPECT_TRUE(absl::StrContains(RemedyOf(refused.status()), "administrator"));
  const auto all = Resume(Alice(), {Kind::kAll, ""});
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->ids, Ids{});
  EXPECT_EQ(all->still_suspended, Ids{id});
  EXPECT_EQ(TokenFor(id), "SUSPENDED");
  EXPECT_EQ(Resume(Admin(), One(id))->ids, Ids{id});
  EXPECT_FALSE(IsSuspended(id));
}

TEST_F(RegistrationSuspenderTest, BothSuspend_TheAdministratorsWordCounts) {
  const auto id = Enroll()->id;
  EXPECT_EQ(*Suspend(Alice(), One(id), "mine"), Ids{id});
  EXPECT_EQ(*Suspend(Alice(), One(id), "again"), Ids{});
  EXPECT_EQ(store().Find(id)->suspension->why, "mine");
  EXPECT_EQ(*Suspend(Admin(), One(id), "incident 7"), Ids{id});
  EXPECT_EQ(*Suspend(Alice(), One(id), "mine"), Ids{});
  EXPECT_EQ(store().Find(id)->suspension->why, "incident 7");
  EXPECT_EQ(ReasonOf(Resume(Alice(), One(id)).status()), Reason::kNotPermitted);
  EXPECT_EQ(Resume(Admin(), One(id))->ids, Ids{id});
  EXPECT_EQ(Resume(Admin(), One(id))->ids, Ids{});
}

TEST_F(RegistrationSuspenderTest, TargetsSelectWhatTheCallerManagesAndNothingElse) {
  const auto own = EnrollAs(Alice()), other = EnrollAs(Bob());
  const auto reason = [&](const Caller& caller, const RegistrationTarget& target) {
    return ReasonOf(Suspend(caller, target).status());
  };
  EXPECT_EQ(reason(Bob(), One(own)), Reason::kRegistrationNotFound);
  EXPECT_EQ(reason(Bob(), {Kind::kServer, "elsewhere"}), Reason::kRegistrationNotFound);
  EXPECT_EQ(reason(User(1002, "carol"), {Kind::kAll, ""}), Reason::kRegistrationNotFound);
  for (const char* name : {"alice", "uid:1000", "nobody-of-that-name"}) {
    EXPECT_EQ(reason(Bob(), {Kind::kOwner, name}), Reason::kNotPermitted) << name;
  }
  EXPECT_FALSE(IsSuspended(own) || IsSuspended(other));

  EXPECT_EQ(*Suspend(Bob(), {Kind::kServer, "mercy"}), Ids{other});
  EXPECT_EQ(Resume(Bob(), {Kind::kOwner, "uid:1001"})->ids, Ids{other});
  EXPECT_EQ(*Suspend(Bob(), {Kind::kAll, ""}), Ids{other});
  EXPECT_EQ(Resume(Bob(), {Kind::kOwner, "bob"})->ids, Ids{other});
  EXPECT_FALSE(IsSuspended(own));

  EXPECT_EQ(*Suspend(Admin(), {Kind::kOwner, "alice"}), Ids{own});
  EXPECT_EQ(*Suspend(Admin(), {Kind::kServer, "mercy"}), Ids{other});
  EXPECT_EQ(Resume(Admin(), {Kind::kAll, ""})->ids.size(), 2u);
}

TEST_F(RegistrationSuspenderTest, WhyIsTooLong_IsRefusedAndNothingChanges) {
  const auto id = Enroll()->id;
  for (const std::string& why : {std::string(201, 'x'), std::string("a\x1b[31m")}) {
    EXPECT_EQ(ReasonOf(Suspend(Alice(), One(id), why).status()), Reason::kInvalidArgument);
  }
  EXPECT_FALSE(IsSuspended(id));
  EXPECT_TRUE(Suspend(Alice(), One(id), std::string(200, 'x')).ok());
}

TEST_F(RegistrationSuspenderTest, RenewalOfASuspendedOne_IsRefused) {
  const auto id = Enroll()->id;
  ASSERT_TRUE(Suspend(Alice(), One(id)).ok());
  EnrollmentRequest renewal = Request();
  renewal.renews = id;
  EXPECT_EQ(ReasonOf(Begin(renewal).status()), Reason::kSuspended);
}

TEST_F(RegistrationSuspenderTest, SuspendedWhileItEnrolls_GetsItsFirstTokenAfterItIsResumed) {
  on_grant_ = [](const RecordedRequest&) { return Refused("invalid_grant"); };
  const auto begun = Begin();
  const auto enrolled = Complete(*begun);
  ASSERT_TRUE(Suspend(Alice(), One(begun->registration_id)).ok());
  on_grant_ = nullptr;
  const size_t requests = Requests(kTokenUrl);
  Advance(absl::Minutes(1));
  EXPECT_EQ(Requests(kTokenUrl), requests);
  EXPECT_EQ(enrolled->answers, 0);
  ASSERT_TRUE(Resume(Alice(), One(begun->registration_id)).ok());
  Advance(absl::Minutes(1));
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
}

TEST_F(RegistrationSuspenderTest, DeletedMeanwhile_TheOthersAreSuspended) {
  const auto first = Enroll()->id, second = Enroll()->id;
  store().Hold();
  daemon_->remover.Remove(first, Anybody, [](absl::StatusOr<RegistrationRemover::Removed>) {});
  absl::optional<absl::StatusOr<Ids>> answered;
  RegistrationSuspender suspender = Suspender();
  suspender.Suspend(Alice(), {Kind::kAll, ""}, "",
                    [&](absl::StatusOr<Ids> result) { answered = std::move(result); });
  store().Release();
  ASSERT_TRUE(answered.has_value() && answered->ok());
  EXPECT_TRUE(IsSuspended(second));
  EXPECT_EQ(store().Find(first), nullptr);
}

}  // namespace
}  // namespace smartkey
