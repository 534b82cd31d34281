// SPDX-License-Identifier: Apache-2.0
// Renewals: the next generation of a registration, for the same patient or another one.
#include <string>

#include "daemon/model/expected_end.h"
#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

TEST_F(EnrollmentTest, Renewed_SwapsTheGenerationAndKeepsNameLabelAndId) {
  const auto before = Enroll(WithName(kName));
  const std::string old_token = TokenFor(before->id);
  const KeyReference old_key = before->newest().key;

  EnrollmentRequest renewal = Request();
  renewal.renews = kName;
  renewal.label = Identifying();
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->registration_id, before->id);
  EXPECT_EQ(TokenFor(before->id), old_token);  // the old one serves
  on_grant_ = [&](const RecordedRequest& request) {
    EXPECT_EQ(request.Form("client_id"), "dynamic-2");
    EXPECT_EQ(TokenFor(before->id), old_token);  // until the very token of the new one
    EXPECT_TRUE(keys_.HasKey(old_key));
    return Token("access-token-canary-new", "patient/*.rs");
  };
  const auto enrolled = Complete(*begun);
  ASSERT_TRUE(enrolled->ok()) << enrolled->result.status();

  const Registration& after = **enrolled->result;
  EXPECT_EQ(after.id, before->id);
  EXPECT_EQ(after.name, Identifying(kName));
  EXPECT_EQ(after.label, Identifying(kLabel));
  EXPECT_EQ(store().Find(before->id)->generations.size(), 1u);
  EXPECT_EQ(after.newest().number, 2);
  EXPECT_EQ(after.newest().client_id, "dynamic-2");
  EXPECT_FALSE(after.newest().key == old_key);
  EXPECT_FALSE(keys_.HasKey(old_key));
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_EQ(TokenFor(before->id), "access-token-canary-new");
}

TEST_F(EnrollmentTest, AccessIsSaidToLast_CountsForThatGenerationAlone) {
  EnrollmentRequest request = Request();
  request.access_for = absl::Hours(24 * 90);
  const auto before = Enroll(request);
  EXPECT_EQ(before->newest().access_for, absl::Hours(24 * 90));

  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  renewal.access_for = absl::Hours(24 * 365);
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  ASSERT_TRUE(begun.ok());
  EXPECT_EQ(FindExpectedEnd(*store().Find(before->id), clock_.Now())->time,
            before->newest().registered_at + absl::Hours(24 * 90))
      << "the old one's end, while it serves";
  ASSERT_TRUE(Complete(*begun)->ok());
  EXPECT_EQ(store().Find(before->id)->newest().access_for, absl::Hours(24 * 365));

  renewal.access_for = absl::ZeroDuration();
  ASSERT_TRUE(Complete(*Begin(renewal))->ok());
  EXPECT_FALSE(FindExpectedEnd(*store().Find(before->id), clock_.Now()).has_value());
}

TEST_F(EnrollmentTest, LessWasGrantedThanTheAppAsksFor_ARenewalAsksForNoMoreByItself) {
  const auto before = Enroll();
  store().Update(
      before->id,
      [](Registration& registration) {
        registration.generations[0].granted_scope =
            "patient/Observation.rs System/DynamicClient.register";
        return absl::OkStatus();
      },
      [](absl::StatusOr<RegistrationStore::Snapshot> changed) { ASSERT_TRUE(changed.ok()); });
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  renewal.scopes = {};
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_NE(begun->authorization_url.find(
                "scope=patient%2FObservation.rs%20system%2FDynamicClient.register&"),
            std::string::npos)
      << begun->authorization_url;
}

TEST_F(EnrollmentTest, RenewalIsForAnotherPatient_IsDroppedAndSaidToTheOwnerWhileTheOldOneServes) {
  const auto before = Enroll();
  const std::string old_token = TokenFor(before->id);
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  patient_ = kOtherPatient;
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kContextChanged);
  const auto after = store().Find(before->id);
  ASSERT_EQ(after->generations.size(), 2u);
  EXPECT_EQ(after->state(), GenerationState::kContextChanged);
  EXPECT_EQ(after->patient, Identifying(kPatient));
  EXPECT_EQ(after->newest().patient, Identifying(kOtherPatient));
  EXPECT_TRUE(after->newest().key.blob.empty());
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_TRUE(keys_.HasKey(after->serving()->key));
  EXPECT_EQ(TokenFor(before->id), old_token);

  // The next one, for the right patient, puts everything in order.
  patient_ = kPatient;
  ASSERT_TRUE(Complete(*Begin(renewal))->ok());
  EXPECT_EQ(store().Find(before->id)->generations.size(), 1u);
  EXPECT_EQ(store().Find(before->id)->state(), GenerationState::kActive);
  EXPECT_EQ(keys_.keys(), 1);
}

TEST_F(EnrollmentTest, RenewalIsForANewPatientOnPurpose_TakesOverWithoutTheShares) {
  const auto before = Enroll();
  store().Update(
      before->id,
      [](Registration& registration) {
        registration.shares = {Share{.id = "s1", .principal = "user:bob"}};
        return absl::OkStatus();
      },
      [](absl::StatusOr<RegistrationStore::Snapshot> shared) { EXPECT_TRUE(shared.ok()); });
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  renewal.new_patient = true;
  patient_ = kOtherPatient;
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  on_grant_ = [](const RecordedRequest&) { return Refused("invalid_grant"); };
  Complete(*begun);
  on_grant_ = nullptr;
  Restart();  // what was agreed to is not forgotten
  Advance(absl::Seconds(2));
  const auto after = store().Find(before->id);
  EXPECT_EQ(after->patient, Identifying(kOtherPatient));
  EXPECT_EQ(after->state(), GenerationState::kActive);
  EXPECT_TRUE(after->shares.empty());
  EXPECT_EQ(after->name, before->name);
  EXPECT_EQ(keys_.keys(), 1);
}

TEST_F(EnrollmentTest, NewPatientWithoutARenewal_MakesNoSense) {
  EnrollmentRequest request = Request();
  request.new_patient = true;
  EXPECT_EQ(ReasonOf(Begin(request).status()), Reason::kInvalidArgument);
}

TEST_F(EnrollmentTest, ServerWasRenamed_IsRenewedUnderItsNewName) {
  const auto before = Enroll(WithName(kName));
  Catalog renamed = MakeCatalog();
  renamed.servers[0].name = "mercy-hospital";
  renamed.apps[0].clients[0].client_id = "another-initial-client";
  catalog_.Set(renamed);
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-1"));
  EnrollmentRequest renewal;
  renewal.redirect_uri = Request().redirect_uri;
  renewal.renews = before->id;
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->server_name, "mercy-hospital");
  EXPECT_EQ(begun->initial_client_id, "another-initial-client");
  ASSERT_TRUE(Complete(*begun)->ok());
  EXPECT_EQ(store().Find(before->id)->server_name, "mercy-hospital");
}

TEST_F(EnrollmentTest, ServerWasRemoved_CannotBeRenewedAndNothingIsLost) {
  const auto before = Enroll();
  catalog_.Set(Catalog{MakeCatalog().apps, {}});
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  EXPECT_EQ(ReasonOf(Begin(renewal).status()), Reason::kServerRemoved);
  EXPECT_EQ(TokenFor(before->id), "SERVER_REMOVED");
  Restart();
  EXPECT_EQ(TokenFor(before->id), "SERVER_REMOVED");
  catalog_.Set(MakeCatalog());
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-1"));
}

TEST_F(EnrollmentTest, RenewalFails_LeavesTheOldGenerationAndItsKey) {
  const auto before = Enroll();
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  const auto fails = [&](const char* how, std::function<void(const BegunEnrollment&)> make) {
    const absl::StatusOr<BegunEnrollment> begun = Begin(renewal);
    ASSERT_TRUE(begun.ok()) << how << begun.status();
    EXPECT_EQ(store().Find(before->id)->generations.size(), 2u) << how;
    make(*begun);
    ASSERT_EQ(store().Find(before->id)->generations.size(), 1u) << how;
    EXPECT_EQ(store().Find(before->id)->newest().number, 1) << how;
    EXPECT_EQ(keys_.keys(), 1) << how;
  };
  fails("cancelled",
        [&](const BegunEnrollment& begun) { EXPECT_TRUE(Cancel(begun.enrollment_id).ok()); });
  fails("expired", [&](const BegunEnrollment&) { Advance(absl::Minutes(10)); });
  fails("denied", [&](const BegunEnrollment& begun) {
    Complete(begun.enrollment_id, absl::StrCat("error=access_denied&state=", StateOf(begun)));
  });
  fails("refused", [&](const BegunEnrollment& begun) {
    on_register_ = [](const RecordedRequest&) { return Refused("invalid_token", 401); };
    Complete(begun);
    on_register_ = nullptr;
  });
  fails("killed", [&](const BegunEnrollment&) { Restart(); });
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-1"));
}

TEST_F(EnrollmentTest, RenewalsAnswerIsLost_TheOldOneServesAndTheNextRenewalWorks) {
  const auto before = Enroll();
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  on_register_ = [](const RecordedRequest&) {
    return MakeError(Reason::kServerUnreachable, "reset");
  };
  const auto lost = Complete(*Begin(renewal));
  Advance(absl::Seconds(5));
  EXPECT_EQ(lost->reason(), Reason::kOrphaned);
  EXPECT_EQ(StateOf(before->id), GenerationState::kOrphaned);
  EXPECT_EQ(store().Find(before->id)->state(), GenerationState::kActive);
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-1"));

  on_register_ = nullptr;
  const auto renewed = Complete(*Begin(renewal));
  ASSERT_TRUE(renewed->ok()) << renewed->result.status();
  EXPECT_EQ(store().Find(before->id)->generations.size(), 1u);
  EXPECT_EQ((*renewed->result)->newest().number, 3);
  EXPECT_EQ(keys_.keys(), 1);
}

TEST_F(EnrollmentTest, ContextHadChanged_ARenewalForTheRightPatientOpensItAgain) {
  const auto before = Enroll();
  patient_ = kOtherPatient;
  daemon_->tokens.Forget(before->id);
  EXPECT_EQ(TokenFor(before->id), "CONTEXT_CHANGED");
  patient_ = kPatient;
  EXPECT_EQ(TokenFor(before->id), "CONTEXT_CHANGED");
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  ASSERT_TRUE(Complete(*Begin(renewal))->ok());
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-2"));
}

TEST_F(EnrollmentTest, WhatIsNotFinished_CannotBeRenewed) {
  const absl::StatusOr<BegunEnrollment> first = Begin(WithName(kName));
  EnrollmentRequest renewal = Request();
  renewal.renews = kName;
  EXPECT_EQ(ReasonOf(Begin(renewal).status()), Reason::kNotReady);
  EXPECT_TRUE(Complete(*first)->ok());
}

TEST_F(EnrollmentTest, AnotherUsersRegistration_CannotBeRenewed) {
  const auto before = Enroll();
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  EXPECT_EQ(Begin(renewal, Bob()).status(), RegistrationNotFound());
}

// What Bob manages by a share, he renews with it, and not when it has ended.
class RenewalByAGrantee : public EnrollmentTest {
 protected:
  RenewalByAGrantee() {
    before_ = Enroll(WithName(kName));
    store().Update(
        before_->id,
        [](Registration& registration) {
          Share share;
          share.id = "share-1";
          share.principal = "user:bob";
          share.uid = Bob().uid;
          share.user_name = "bob";
          share.operations = {"manage"};
          registration.shares = {share};
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> shared) { ASSERT_TRUE(shared.ok()); });
    renewal_ = Request();
    renewal_.renews = before_->id;
  }

  void TakeBack() {
    store().Update(
        before_->id,
        [](Registration& registration) {
          registration.shares.clear();
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> taken) { ASSERT_TRUE(taken.ok()); });
  }

  std::shared_ptr<Enrolled> CompleteAsBob(const BegunEnrollment& begun) {
    return Complete(begun.enrollment_id, RedirectOf(begun), Bob());
  }

  void ExpectOnlyTheOldOne() {
    const RegistrationStore::Snapshot after = store().Find(before_->id);
    ASSERT_EQ(after->generations.size(), 1u);
    EXPECT_EQ(after->newest().number, 1);
    EXPECT_EQ(keys_.keys(), 1);
    EXPECT_EQ(TokenFor(before_->id), "access-token-canary-dynamic-1");
  }

  RegistrationStore::Snapshot before_;
  EnrollmentRequest renewal_;
};

TEST_F(RenewalByAGrantee, AsLongAsHeManages_HeRenews) {
  ASSERT_TRUE(CompleteAsBob(*Begin(renewal_, Bob()))->ok());
  EXPECT_EQ(store().Find(before_->id)->newest().number, 2);
}

TEST_F(RenewalByAGrantee, ManagementEndsBeforeItIsWrittenDown_NothingIsBegun) {
  daemon_->http.Hold();
  absl::Status begun;
  manager().Begin(Bob(), renewal_,
                  [&](absl::StatusOr<BegunEnrollment> result) { begun = result.status(); });
  TakeBack();
  daemon_->http.ReleaseAll();
  EXPECT_EQ(begun, RegistrationNotFound());
  ExpectOnlyTheOldOne();
}

TEST_F(RenewalByAGrantee, ManagementEndsDuringTheLogin_NothingIsAskedForAtTheServer) {
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal_, Bob());
  ASSERT_TRUE(begun.ok()) << begun.status();
  const size_t exchanges = CodeExchanges();
  TakeBack();
  EXPECT_EQ(CompleteAsBob(*begun)->reason(), Reason::kRegistrationNotFound);
  EXPECT_EQ(CodeExchanges(), exchanges);
  ExpectOnlyTheOldOne();
}

TEST_F(RenewalByAGrantee, ManagementEndsDuringTheExchange_NothingIsRegistered) {
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal_, Bob());
  ASSERT_TRUE(begun.ok()) << begun.status();
  on_code_ = [this](const RecordedRequest&) {
    TakeBack();
    return Token(kInitialToken, granted_);
  };
  EXPECT_EQ(CompleteAsBob(*begun)->reason(), Reason::kRegistrationNotFound);
  EXPECT_EQ(Requests(kRegister), 1u);  // the first generation's
  ExpectOnlyTheOldOne();
}

TEST_F(RenewalByAGrantee, ManagementEndsBeforeTheFirstToken_TheRenewalEndsAndTheOldOneServes) {
  const absl::StatusOr<BegunEnrollment> begun = Begin(renewal_, Bob());
  ASSERT_TRUE(begun.ok()) << begun.status();
  on_register_ = [this](const RecordedRequest&) {
    TakeBack();
    return Created();
  };
  EXPECT_EQ(CompleteAsBob(*begun)->reason(), Reason::kRegistrationNotFound);
  ExpectOnlyTheOldOne();
}

}  // namespace
}  // namespace smartkey
