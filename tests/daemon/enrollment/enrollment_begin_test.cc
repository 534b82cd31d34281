// SPDX-License-Identifier: Apache-2.0
// Begin, Cancel, quotas, expiry, and who may touch what.
#include <string>
#include <vector>

#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

TEST_F(EnrollmentTest, Begin_TellsThePersonWhereItGoes) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->authorization_host, "ehr.example");
  EXPECT_EQ(begun->token_host, "ehr.example");
  EXPECT_EQ(begun->initial_client_id, "initial-client");
  EXPECT_EQ(begun->redirect_uri, "http://127.0.0.1:45678/callback");
  EXPECT_EQ(begun->server_name, "mercy");
  EXPECT_EQ(begun->expires_at, clock_.Now() + absl::Minutes(10));
  for (const char* part : {"https://ehr.example/authorize?", "response_type=code",
                           "client_id=initial-client", "code_challenge_method=S256",
                           "aud=https%3A%2F%2Fehr.example%2Ffhir", "DynamicClient.register"}) {
    EXPECT_NE(begun->authorization_url.find(part), std::string::npos) << part;
  }
}

TEST_F(EnrollmentTest, HardwareIsBeingOpened_BeginWaitsForIt) {
  ProviderStatus ready = keys_.status();
  ProviderStatus opening;
  opening.known = false;
  opening.last_error = MakeError(Reason::kHardwareBusy, "being opened");
  keys_.set_status(opening);
  keys_.set_hold(true);
  std::vector<absl::StatusOr<BegunEnrollment>> begun;
  manager().Begin(Alice(), Request(),
                  [&](absl::StatusOr<BegunEnrollment> result) { begun.push_back(result); });
  EXPECT_TRUE(begun.empty());
  keys_.set_status(ready);
  keys_.set_hold(false);
  keys_.ReleaseAll();
  ASSERT_EQ(begun.size(), 1u);
  ASSERT_TRUE(begun[0].ok()) << begun[0].status();
  EXPECT_TRUE(Complete(*begun[0])->ok());
}

TEST_F(EnrollmentTest, HardwareCannotBeOpened_BeginSaysWhyWhenThatIsKnown) {
  ProviderStatus opening;
  opening.known = false;
  keys_.set_status(opening);
  keys_.set_hold(true);
  absl::Status said;
  manager().Begin(Alice(), Request(),
                  [&](absl::StatusOr<BegunEnrollment> result) { said = result.status(); });
  ProviderStatus absent;
  absent.last_error = MakeError(Reason::kHardwareAbsent, "no such device");
  keys_.set_status(absent);
  keys_.ReleaseAll();
  EXPECT_EQ(ReasonOf(said), Reason::kHardwareAbsent);
  EXPECT_EQ(manager().pending(), 0);
}

TEST_F(EnrollmentTest, TwoEnrollments_HaveDifferentStatesVerifiersAndKeys) {
  const absl::StatusOr<BegunEnrollment> first = Begin();
  const absl::StatusOr<BegunEnrollment> second = Begin();
  EXPECT_NE(StateOf(*first), StateOf(*second));
  const auto one = Complete(*first);
  const auto two = Complete(*second);
  ASSERT_TRUE(one->ok() && two->ok());
  EXPECT_NE((*one->result)->newest().thumbprint, (*two->result)->newest().thumbprint);
  std::vector<std::string> verifiers;
  for (const auto& request : daemon_->http.requests(kTokenUrl)) {
    if (!request.Form("code_verifier").empty()) verifiers.push_back(request.Form("code_verifier"));
  }
  ASSERT_EQ(verifiers.size(), 2u);
  EXPECT_NE(verifiers[0], verifiers[1]);
}

TEST_F(EnrollmentTest, SameAppAtTheSameServerAgain_WarnsAndRenewingDoesNot) {
  const absl::StatusOr<BegunEnrollment> first = Begin();
  EXPECT_TRUE(first->warnings.empty());
  EXPECT_TRUE(Begin()->warnings.empty());  // the first one is only begun
  ASSERT_TRUE(Complete(*first)->ok());
  const std::vector<RegistrationWarning> warned = {RegistrationWarning::kSameAppSameServer};
  EXPECT_EQ(Begin()->warnings, warned);

  EnrollmentRequest renewal = Request();
  renewal.renews = first->registration_id;
  EXPECT_TRUE(Begin(renewal, Alice())->warnings.empty());
  EXPECT_TRUE(Begin(Request(), Bob())->warnings.empty());
}

TEST_F(EnrollmentTest, NobodyChoseTheName_GivesWayToTheOnesThatAreThere) {
  EXPECT_EQ(Enroll()->name, Identifying("mercy"));
  EXPECT_EQ(Enroll()->name, Identifying("mercy-2"));
  EXPECT_EQ(Enroll()->name, Identifying("mercy-3"));
}

TEST_F(EnrollmentTest, ChosenNameIsTaken_IsSaidAndNothingIsLeft) {
  Enroll(WithName(kName));
  EXPECT_EQ(ReasonOf(Begin(WithName(kName)).status()), Reason::kNameTaken);
  EXPECT_EQ(store().List().size(), 1u);
  EXPECT_EQ(manager().pending(), 0);
  EXPECT_EQ(keys_.keys(), 1);
}

TEST_F(EnrollmentTest, ServerCannotBeReached_NobodyLogsInForNothing) {
  daemon_->http.HandleAll([this](const RecordedRequest& request) -> FakeHttpClient::Result {
    if (request.probe) return MakeError(Reason::kServerUnreachable, "connection refused");
    return Serve(request);
  });
  EXPECT_EQ(ReasonOf(Begin().status()), Reason::kServerUnreachable);
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(manager().pending(), 0);
  EXPECT_EQ(keys_.creates(), 0);
}

TEST_F(EnrollmentTest, HardwareIsNotReady_IsSaidBeforeAnythingIsAsked) {
  ProviderStatus status;
  status.state = ProviderState::kAbsent;
  status.last_error = MakeError(Reason::kHardwareAbsent, "no TPM");
  keys_.set_status(status);
  EXPECT_EQ(ReasonOf(Begin().status()), Reason::kHardwareAbsent);
  EXPECT_TRUE(daemon_->http.requests().empty());
}

TEST_F(EnrollmentTest, StoreFails_BeginFailsAndGivesItsPlaceBack) {
  store().FailWrites(MakeError(Reason::kStoreUnavailable, "read-only"));
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ReasonOf(Begin().status()), Reason::kStoreUnavailable);
  }
  EXPECT_EQ(keys_.creates(), 0);
  store().FailWrites(absl::OkStatus());
  EXPECT_TRUE(Begin().ok());
}

TEST_F(EnrollmentTest, CallerMayNotEnroll_IsRefused) {
  Caller contained = Alice();
  contained.in_container = true;
  EXPECT_EQ(ReasonOf(Begin(Request(), contained).status()), Reason::kContainerDenied);
  Caller admin = User(0, "root");
  admin.admin = true;
  EXPECT_EQ(ReasonOf(Begin(Request(), admin).status()), Reason::kNotPermitted);
}

TEST_F(EnrollmentTest, AnotherUser_IsToldThatThereIsNoSuchEnrollment) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const std::string& id = begun->enrollment_id;
  EXPECT_EQ(Complete(id, RedirectOf(*begun), Bob())->reason(), Reason::kEnrollmentNotFound);
  EXPECT_EQ(ReasonOf(Cancel(id, Bob())), Reason::kEnrollmentNotFound);
  const auto watched = manager().Watch(Bob(), id, [](const EnrollmentProgress&) { FAIL(); });
  EXPECT_EQ(ReasonOf(watched.status()), Reason::kEnrollmentNotFound);
  // The words are those for a wrong id.
  EXPECT_EQ(Complete(id, RedirectOf(*begun), Bob())->result.status(),
            Complete("wrong", RedirectOf(*begun), Bob())->result.status());
  EXPECT_EQ(CodeExchanges(), 0u);
  EXPECT_TRUE(Complete(*begun)->ok());
}

TEST_F(EnrollmentTest, SameUidInAContainer_TouchesNothing) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  const absl::StatusOr<BegunEnrollment> begun = Begin(request);
  Caller contained = Alice();
  contained.in_container = true;
  EXPECT_EQ(ReasonOf(Begin(request, contained).status()), Reason::kContainerDenied);
  EXPECT_EQ(Complete(begun->enrollment_id, RedirectOf(*begun), contained)->reason(),
            Reason::kContainerDenied);
  EXPECT_EQ(ReasonOf(Cancel(begun->enrollment_id, contained)), Reason::kContainerDenied);
  EXPECT_FALSE(
      manager().Watch(contained, begun->enrollment_id, [](const EnrollmentProgress&) {}).ok());
  EXPECT_TRUE(Complete(*begun)->ok());
}

TEST_F(EnrollmentTest, ThreePendingForAUser_TheFourthIsRefusedUntilOneEnds) {
  std::vector<BegunEnrollment> begun;
  for (int i = 0; i < 3; ++i) begun.push_back(*Begin());
  const absl::Status refused = Begin().status();
  EXPECT_EQ(ReasonOf(refused), Reason::kTooManyEnrollments);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  EXPECT_TRUE(Begin(Request(), Bob()).ok());
  EXPECT_TRUE(Cancel(begun[0].enrollment_id).ok());
  EXPECT_TRUE(Begin().ok());
  EXPECT_EQ(ReasonOf(Begin().status()), Reason::kTooManyEnrollments);
  EXPECT_TRUE(Complete(begun[1])->ok());
  EXPECT_TRUE(Begin().ok());
}

TEST_F(EnrollmentTest, ThirtyTwoPendingInAll_TheNextUserIsRefused) {
  for (uid_t user = 0; user < 11; ++user) {
    for (int i = 0; i < 3; ++i) {
      const auto begun = Begin(Request(), User(2000 + user, absl::StrCat("user", user)));
      EXPECT_EQ(begun.ok(), user * 3 + i < 32) << user << " " << i;
    }
  }
  EXPECT_EQ(manager().pending(), 32);
  EXPECT_EQ(ReasonOf(Begin().status()), Reason::kTooManyEnrollments);
}

TEST_F(EnrollmentTest, OnlyTheFirstTokenIsAwaited_DoesNotCountAsPending) {
  on_grant_ = [](const RecordedRequest&) { return Refused("invalid_grant"); };
  for (int i = 0; i < 3; ++i) Complete(*Begin());
  EXPECT_TRUE(Begin().ok());
}

TEST_F(EnrollmentTest, NobodyLogsIn_EndsAfterTenMinutesAndLeavesNothing) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto steps = Watch(begun->enrollment_id);
  Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_EQ(keys_.keys(), 1);
  Advance(absl::Seconds(1));
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(ReasonOf(steps->back().error), Reason::kEnrollmentExpired);
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kEnrollmentExpired);
  EXPECT_EQ(CodeExchanges(), 0u);
}

TEST_F(EnrollmentTest, TimeRunsOutAfterTheRedirectCame_CarriesOn) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  Advance(absl::Minutes(11));
  EXPECT_EQ(enrolled->answers, 0);
  keys_.set_hold(false);
  keys_.ReleaseAll();
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
}

TEST_F(EnrollmentTest, Cancelled_LeavesNothing) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_TRUE(Cancel(begun->enrollment_id).ok());
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().List().empty());
  EXPECT_FALSE(Cancel(begun->enrollment_id).ok());
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kEnrollmentCancelled);
}

TEST_F(EnrollmentTest, CancelledWhileTheHardwareIsAtWork_TheKeyIsDestroyedWhenItComes) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_TRUE(Cancel(begun->enrollment_id).ok());
  EXPECT_TRUE(store().List().empty());
  keys_.set_hold(false);
  keys_.ReleaseAll();
  EXPECT_EQ(keys_.creates(), 1);
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(EnrollmentTest, CancelledWhileTheKeyIsBeingWrittenDown_TheKeyIsDestroyedToo) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  store().Hold();
  keys_.set_hold(false);
  keys_.ReleaseAll();  // its reference waits for the disk
  EXPECT_TRUE(Cancel(begun->enrollment_id).ok());
  store().Release();
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(EnrollmentTest, CancelledTooLate_IsCarriedThrough) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  on_register_ = [&](const RecordedRequest&) {
    EXPECT_FALSE(Cancel(begun->enrollment_id).ok());
    return Created();
  };
  EXPECT_TRUE(Complete(*begun)->ok());
}

TEST_F(EnrollmentTest, BeginIsRepeatedWithItsRequestId_FindsTheFirst) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  const absl::StatusOr<BegunEnrollment> first = Begin(request);
  const absl::StatusOr<BegunEnrollment> again = Begin(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->enrollment_id, first->enrollment_id);
  EXPECT_EQ(again->authorization_url, first->authorization_url);
  EXPECT_EQ(store().List().size(), 1u);
  EXPECT_EQ(keys_.creates(), 1);

  const absl::StatusOr<BegunEnrollment> bobs = Begin(request, Bob());
  EXPECT_NE(bobs->enrollment_id, first->enrollment_id);

  EXPECT_TRUE(Complete(*first)->ok());
  EXPECT_EQ(Begin(request)->enrollment_id, first->enrollment_id);  // and Complete has the answer
  EXPECT_EQ(store().List().size(), 2u);
}

TEST_F(EnrollmentTest, BeginIsRepeatedAfterItFailed_StartsAnew) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  const absl::StatusOr<BegunEnrollment> first = Begin(request);
  EXPECT_TRUE(Cancel(first->enrollment_id).ok());
  const absl::StatusOr<BegunEnrollment> again = Begin(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_NE(again->enrollment_id, first->enrollment_id);
  EXPECT_TRUE(Complete(*again)->ok());
}

TEST_F(EnrollmentTest, TwoAreBegunAtOnceWhereOneIsAllowed_TheSecondIsRefused) {
  Catalog catalog = MakeCatalog();
  catalog.policies.emplace_back().max_registrations_per_owner = 1;
  catalog_.Set(std::move(catalog));
  daemon_->http.Hold();
  std::vector<Reason> ends;
  for (const char* name : {"one", "two"}) {
    manager().Begin(Alice(), WithName(name), [&](absl::StatusOr<BegunEnrollment> begun) {
      ends.push_back(ReasonOf(begun.status()));
    });
  }
  EXPECT_TRUE(ends.empty());
  daemon_->http.ReleaseAll();
  EXPECT_EQ(ends, (std::vector<Reason>{Reason::kUnspecified, Reason::kTooManyRegistrations}));
  EXPECT_EQ(store().List().size(), 1u);
}

TEST_F(EnrollmentTest, WatchedByMany_TheSeventeenthIsRefused) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto watch = [&] {
    return manager().Watch(Alice(), begun->enrollment_id, [](const EnrollmentProgress&) {});
  };
  const auto first = watch();
  ASSERT_TRUE(first.ok());
  for (int i = 1; i < 16; ++i) ASSERT_TRUE(watch().ok());
  EXPECT_EQ(ReasonOf(watch().status()), Reason::kRateLimited);
  manager().Unwatch(*first);
  EXPECT_TRUE(watch().ok());
}

}  // namespace
}  // namespace smartkey
