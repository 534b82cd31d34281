// SPDX-License-Identifier: Apache-2.0
// The good way through an enrollment, and what is durable when.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

TEST_F(EnrollmentTest, PersonAgrees_BecomesAnActiveRegistrationInTheDocumentedOrder) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  ASSERT_TRUE(begun.ok()) << begun.status();
  const std::string id = begun->registration_id;
  EXPECT_EQ(StateOf(id), GenerationState::kPending);

  on_code_ = [&](const RecordedRequest&) {
    // The key stands and is durable before the code is exchanged.
    EXPECT_EQ(keys_.keys(), 1);
    EXPECT_TRUE(keys_.HasKey(store().Find(id)->newest().key));
    EXPECT_FALSE(store().Find(id)->newest().thumbprint.empty());
    EXPECT_EQ(StateOf(id), GenerationState::kPending);
    return Token(kInitialToken, granted_);
  };
  on_register_ = [&](const RecordedRequest& request) {
    EXPECT_EQ(StateOf(id), GenerationState::kRegistering);
    EXPECT_EQ(request.bearer, kInitialToken);
    const auto body = nlohmann::json::parse(request.body);
    EXPECT_EQ(body["software_id"], "software-1");
    EXPECT_EQ(body["jwks"]["keys"].size(), 1u);
    EXPECT_EQ(body["jwks"]["keys"][0]["kid"], store().Find(id)->newest().thumbprint);
    EXPECT_FALSE(body["jwks"]["keys"][0].contains("d"));
    return Created();
  };
  on_grant_ = [&](const RecordedRequest& request) {
    // The client_id is durable before it is used, and long before success is told.
    EXPECT_EQ(StateOf(id), GenerationState::kVerifying);
    EXPECT_EQ(store().Find(id)->newest().client_id, "dynamic-1");
    EXPECT_EQ(request.Form("client_id"), "dynamic-1");
    return Token(kAccessToken, "patient/*.rs");
  };
  const auto enrolled = Complete(*begun);
  ASSERT_TRUE(enrolled->ok()) << enrolled->result.status();

  const Registration& registration = **enrolled->result;
  EXPECT_EQ(registration.id, id);
  EXPECT_EQ(registration.owner_uid, 1000u);
  EXPECT_EQ(registration.owner_name, "alice");
  EXPECT_EQ(registration.app_id, "org.example.viewer");
  EXPECT_EQ(registration.name, Identifying("mercy"));
  EXPECT_EQ(registration.label, Identifying(kLabel));
  EXPECT_EQ(registration.patient, Identifying(kPatient));
  ASSERT_EQ(registration.generations.size(), 1u);
  EXPECT_EQ(registration.newest().state, GenerationState::kActive);
  EXPECT_EQ(registration.newest().token_endpoint, kTokenUrl);
  EXPECT_EQ(registration.newest().granted_scope,
            "launch/patient patient/*.rs system/DynamicClient.register");
  EXPECT_EQ(Requests(kRegister), 1u);
  EXPECT_EQ(TokenFor(id), kAccessToken);  // the first token is not fetched twice
  EXPECT_EQ(Requests(kTokenUrl), 2u);
  EXPECT_EQ(manager().pending(), 0);
}

TEST_F(EnrollmentTest, CodeExchange_SendsWhatTheAuthorizationUrlPromised) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  Complete(*begun);
  const RecordedRequest sent = daemon_->http.requests(kTokenUrl).at(0);
  EXPECT_EQ(sent.Form("code"), kCode);
  EXPECT_EQ(sent.Form("redirect_uri"), "http://127.0.0.1:45678/callback");
  EXPECT_EQ(sent.Form("client_id"), "initial-client");
  EXPECT_EQ(sent.Form("code_verifier").size(), 43u);
  EXPECT_TRUE(sent.bearer.empty());
}

TEST_F(EnrollmentTest, DiskIsSlow_BeginAnswersOnlyOnceTheRecordIsDurable) {
  store().Hold();
  bool answered = false;
  manager().Begin(Alice(), Request(),
                  [&](absl::StatusOr<BegunEnrollment> begun) { answered = begun.ok(); });
  EXPECT_FALSE(answered);
  EXPECT_EQ(keys_.creates(), 0);
  store().Run(1);
  EXPECT_TRUE(answered);
  EXPECT_EQ(store().List().size(), 1u);
}

TEST_F(EnrollmentTest, DiskIsSlow_NothingIsPostedBeforeRegisteringIsDurable) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  store().Hold();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(CodeExchanges(), 1u);
  EXPECT_EQ(Requests(kRegister), 0u);
  store().Run(1);  // REGISTERING
  EXPECT_EQ(Requests(kRegister), 1u);
  EXPECT_EQ(Requests(kTokenUrl), 1u);
  EXPECT_EQ(enrolled->answers, 0);
  store().Run(1);  // client_id
  EXPECT_EQ(Requests(kTokenUrl), 2u);
  EXPECT_EQ(enrolled->answers, 0);
  store().Run(1);  // ACTIVE, patient pinned
  EXPECT_TRUE(enrolled->ok());
}

TEST_F(EnrollmentTest, PersonIsInTheBrowser_TheKeyIsMadeMeanwhile) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  ASSERT_TRUE(begun.ok());  // does not wait for the hardware
  EXPECT_EQ(keys_.creates(), 1);
  EXPECT_EQ(keys_.create_requests()[0].label,
            absl::StrCat("smartkeyd:fake-instance:", begun->registration_id, ":1"));
  keys_.Release(1);
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_TRUE(keys_.HasKey(store().Find(begun->registration_id)->newest().key));
}

TEST_F(EnrollmentTest, HardwareIsSlow_TheCodeWaitsForTheKey) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(CodeExchanges(), 0u);
  EXPECT_EQ(enrolled->answers, 0);
  keys_.set_hold(false);
  keys_.ReleaseAll();
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_EQ(CodeExchanges(), 1u);
}

TEST_F(EnrollmentTest, CompleteIsAskedTwice_BothGetTheSameAnswerFromOneEnrollment) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  daemon_->http.Hold();
  const auto first = Complete(*begun);
  const auto second = Complete(*begun);  // while it runs
  daemon_->http.Hold(false);
  daemon_->http.ReleaseAll();
  ASSERT_TRUE(first->ok()) << first->result.status();
  ASSERT_TRUE(second->ok());
  const auto third = Complete(*begun);  // after it ended
  ASSERT_TRUE(third->ok());
  EXPECT_EQ((*first->result)->id, (*third->result)->id);
  EXPECT_EQ((*second->result)->id, (*third->result)->id);
  EXPECT_EQ(CodeExchanges(), 1u);
  EXPECT_EQ(Requests(kRegister), 1u);
}

TEST_F(EnrollmentTest, CompleteIsAskedAgainLongAfter_IsAnsweredFromTheRecord) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  Complete(*begun);
  Advance(absl::Hours(1));
  EXPECT_TRUE(Complete(*begun)->ok());
  Restart();
  EXPECT_TRUE(Complete(*begun)->ok());
  EXPECT_EQ(Complete(begun->enrollment_id, RedirectOf(*begun), Bob())->reason(),
            Reason::kEnrollmentNotFound);
  EXPECT_EQ(Complete(begun->enrollment_id, RedirectOf(*begun), User(1000, "mallory"))->reason(),
            Reason::kEnrollmentNotFound);
}

TEST_F(EnrollmentTest, EndedEnrollment_IsForgottenAfterAWhile) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_TRUE(Cancel(begun->enrollment_id).ok());
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kEnrollmentCancelled);
  Advance(absl::Minutes(11));
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kEnrollmentNotFound);
}

TEST_F(EnrollmentTest, SomebodyWatches_SeesEachStepInOrder) {
  keys_.set_hold(true);
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto steps = Watch(begun->enrollment_id);
  ASSERT_EQ(steps->size(), 1u);
  EXPECT_EQ(steps->at(0).step, EnrollmentStep::kWaitingForBrowser);
  EXPECT_FALSE(steps->at(0).key_ready);
  EXPECT_EQ(steps->at(0).registration_id, begun->registration_id);
  keys_.set_hold(false);
  keys_.ReleaseAll();
  Complete(*begun);

  std::vector<EnrollmentStep> seen;
  for (const EnrollmentProgress& one : *steps) {
    if (seen.empty() || seen.back() != one.step) seen.push_back(one.step);
  }
  EXPECT_EQ(seen,
            (std::vector<EnrollmentStep>{
                EnrollmentStep::kWaitingForBrowser, EnrollmentStep::kExchangingCode,
                EnrollmentStep::kRegistering, EnrollmentStep::kVerifying, EnrollmentStep::kDone}));
  EXPECT_TRUE(steps->back().key_ready);
  EXPECT_TRUE(steps->back().error.ok());

  const size_t after = steps->size();
  Advance(absl::Hours(1));
  EXPECT_EQ(steps->size(), after);
}

TEST_F(EnrollmentTest, WatchBeginsAfterTheEnd_SeesTheEnd) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_TRUE(Cancel(begun->enrollment_id).ok());
  const auto steps = Watch(begun->enrollment_id);
  ASSERT_EQ(steps->size(), 1u);
  EXPECT_EQ(steps->at(0).step, EnrollmentStep::kFailed);
  EXPECT_EQ(ReasonOf(steps->at(0).error), Reason::kEnrollmentCancelled);
}

TEST_F(EnrollmentTest, WatcherLeaves_HearsNoMore) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  int steps = 0;
  const auto watch =
      manager().Watch(Alice(), begun->enrollment_id, [&](const EnrollmentProgress&) { ++steps; });
  manager().Unwatch(*watch);
  Complete(*begun);
  EXPECT_EQ(steps, 1);
}

// Renewal.

TEST_F(EnrollmentTest, AppHasAnInitialToken_RegistersWithoutABrowser) {
  const auto enrolled = EnrollWithToken(Request(), absl::Minutes(5));
  ASSERT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_EQ(CodeExchanges(), 0u);
  EXPECT_EQ(daemon_->http.requests(kRegister).back().bearer, kInitialToken);
  EXPECT_EQ((*enrolled->result)->newest().state, GenerationState::kActive);
}

TEST_F(EnrollmentTest, InitialTokenHasExpired_IsNotSentAnywhere) {
  EXPECT_EQ(EnrollWithToken(Request(), absl::ZeroDuration())->reason(),
            Reason::kInitialTokenExpired);
  EXPECT_EQ(EnrollWithToken(Request(), -absl::Minutes(1))->reason(), Reason::kInitialTokenExpired);
  EXPECT_TRUE(daemon_->http.requests().empty());
  EXPECT_TRUE(store().List().empty());
}

TEST_F(EnrollmentTest, InitialTokenExpiresWhileTheKeyIsMade_IsNotSentAndNothingIsLeft) {
  keys_.set_hold(true);
  const auto enrolled = EnrollWithToken(Request(), absl::Seconds(30));
  clock_.Advance(absl::Seconds(31));
  keys_.set_hold(false);
  keys_.ReleaseAll();
  EXPECT_EQ(enrolled->reason(), Reason::kInitialTokenExpired);
  EXPECT_EQ(Requests(kRegister), 0u);
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().List().empty());
}

TEST_F(EnrollmentTest, InitialTokenIsMissing_IsSaidAtOnce) {
  absl::Status told;
  manager().EnrollWithInitialToken(
      Alice(), Request(), Secret(), absl::nullopt,
      [&](absl::StatusOr<RegistrationStore::Snapshot> result) { told = result.status(); });
  EXPECT_EQ(ReasonOf(told), Reason::kInvalidArgument);
}

TEST_F(EnrollmentTest, InitialTokenIsUsed_WhichRegistrationItWillBeIsToldBeforeAnythingIsMade) {
  keys_.set_hold(true);
  std::string recorded;
  manager().EnrollWithInitialToken(
      Alice(), Request(), Secret::CopyOf(kInitialToken), absl::Minutes(5),
      [](absl::StatusOr<RegistrationStore::Snapshot>) {},
      [&](const std::string& id) { recorded = id; });
  ASSERT_EQ(store().List().size(), 1u);
  EXPECT_EQ(recorded, (*store().List().begin())->id);
  EXPECT_EQ(Requests(kRegister), 0u);
  keys_.set_hold(false);
  keys_.ReleaseAll();
}

TEST_F(EnrollmentTest, InitialTokenRequestIsRepeatedWhileItIsPrepared_EachIsAnswered) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  daemon_->http.Hold();
  const auto first = EnrollWithToken(request, absl::Minutes(5));
  const auto second = EnrollWithToken(request, absl::Minutes(5));
  EXPECT_EQ(second->reason(), Reason::kNotReady);
  store().FailWrites(MakeError(Reason::kStoreUnavailable, "read-only"));
  daemon_->http.ReleaseAll();
  EXPECT_EQ(first->reason(), Reason::kStoreUnavailable);
  EXPECT_EQ(second->answers, 1);
}

TEST_F(EnrollmentTest, InitialTokenRequestIsRepeated_FindsTheFirstAndSpendsNothing) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  keys_.set_hold(true);
  const auto first = EnrollWithToken(request, absl::Minutes(5));
  const auto while_it_runs = EnrollWithToken(request, absl::Minutes(5));
  keys_.set_hold(false);
  keys_.ReleaseAll();
  ASSERT_TRUE(first->ok()) << first->result.status();
  const auto after = EnrollWithToken(request, absl::Minutes(5));
  ASSERT_TRUE(while_it_runs->ok());
  ASSERT_TRUE(after->ok());
  EXPECT_EQ((*after->result)->id, (*first->result)->id);
  EXPECT_EQ(Requests(kRegister), 1u);
  Restart();
  const auto after_restart = EnrollWithToken(request, absl::Minutes(5));
  ASSERT_TRUE(after_restart->ok());
  EXPECT_EQ((*after_restart->result)->id, (*first->result)->id);
  EXPECT_EQ(Requests(kRegister), 0u);  // of the new process
  EXPECT_EQ(store().List().size(), 1u);
}

TEST_F(EnrollmentTest, AnothersRegistrationHasTheSameRequestId_IsNotTakenForTheAnswer) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  Registration bobs = *Enroll(request);
  bobs.owner_uid = Bob().uid;
  bobs.owner_name = Bob().user_name;
  Share share;  // so that Alice sees it
  share.id = "share-1";
  share.principal = "user:alice";
  share.uid = Alice().uid;
  share.user_name = "alice";
  share.operations = {"token"};
  bobs.shares = {share};
  Restart({bobs});
  const auto enrolled = EnrollWithToken(request, absl::Minutes(5));
  ASSERT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_EQ((*enrolled->result)->owner_uid, Alice().uid);
  EXPECT_NE((*enrolled->result)->id, bobs.id);
}

TEST_F(EnrollmentTest, OwnRegistrationOfAnotherAppHasTheSameRequestId_IsNotTakenForTheAnswer) {
  EnrollmentRequest request = Request();
  request.request_id = "request-1";
  Registration other = *Enroll(request);
  other.app_id = "org.example.other";
  Restart({other});
  request.app_id = "org.example.viewer";
  const auto enrolled = EnrollWithToken(request, absl::Minutes(5));
  ASSERT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_NE((*enrolled->result)->id, other.id);
}

}  // namespace
}  // namespace smartkey
