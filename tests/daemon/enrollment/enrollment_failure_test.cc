// SPDX-License-Identifier: Apache-2.0
// What goes wrong between the redirect and the first token, and what is left then.
#include <string>
#include <vector>

#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

class EnrollmentFailureTest : public EnrollmentTest {
 protected:
  void ExpectNothingLeft() {
    EXPECT_EQ(keys_.keys(), 0);
    EXPECT_TRUE(store().List().empty());
    EXPECT_EQ(manager().pending(), 0);
  }
  static absl::Status Reset() { return MakeError(Reason::kServerUnreachable, "connection reset"); }
  static absl::Status NotSent() {
    return MarkNothingWasSent(MakeError(Reason::kServerUnreachable, "connection refused"));
  }
};

// The redirect.

TEST_F(EnrollmentFailureTest, RedirectHasAWrongState_EndsNothingAndTheRightOneStillCounts) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const std::string& id = begun->enrollment_id;
  EXPECT_EQ(Complete(id, "code=evil&state=wrong")->reason(), Reason::kStateMismatch);
  EXPECT_EQ(Complete(id, "code=evil")->reason(), Reason::kStateMismatch);
  EXPECT_EQ(Complete(id, "error=access_denied&state=wrong")->reason(), Reason::kStateMismatch);
  EXPECT_EQ(Complete(id, RedirectOf(*begun) + "&code=twice")->reason(), Reason::kStateMismatch);
  EXPECT_EQ(CodeExchanges(), 0u);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kPending);
  EXPECT_TRUE(Complete(*begun)->ok());
}

TEST_F(EnrollmentFailureTest, WholeRedirectUrlIsPasted_IsTakenToo) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_TRUE(
      Complete(begun->enrollment_id, "http://127.0.0.1:45678/callback?" + RedirectOf(*begun))
          ->ok());
}

TEST_F(EnrollmentFailureTest, ConsentIsDenied_EndsItAndLeavesNothing) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled =
      Complete(begun->enrollment_id, absl::StrCat("error=access_denied&state=", StateOf(*begun)));
  EXPECT_EQ(enrolled->reason(), Reason::kConsentDenied);
  EXPECT_EQ(CodeExchanges(), 0u);
  ExpectNothingLeft();
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kConsentDenied);
}

TEST_F(EnrollmentFailureTest, KeyCannotBeMade_TheCodeIsNotExchanged) {
  keys_.set_create_status(MakeError(Reason::kHardwareFull, "no room"));
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kHardwareFull);
  EXPECT_EQ(CodeExchanges(), 0u);
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, KeyCannotBeWrittenDown_IsDestroyedAndTheCodeIsNotExchanged) {
  store().FailWritesAfter(1, MakeError(Reason::kStoreUnavailable, "disk full"));
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  ASSERT_TRUE(begun.ok());
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kStoreUnavailable);
  EXPECT_EQ(CodeExchanges(), 0u);
}

// The code exchange.

TEST_F(EnrollmentFailureTest, CodeIsRefused_IsSaidAndLeavesNothing) {
  on_code_ = [](const RecordedRequest&) { return Refused("invalid_grant"); };
  EXPECT_EQ(Complete(*Begin())->reason(), Reason::kCodeRefused);
  EXPECT_EQ(CodeExchanges(), 1u);
  EXPECT_EQ(Requests(kRegister), 0u);
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, RegisterScopeIsNotGranted_NothingIsPosted) {
  granted_ = "launch/patient patient/*.rs";
  EXPECT_EQ(Complete(*Begin())->reason(), Reason::kRegisterScopeNotGranted);
  EXPECT_EQ(Requests(kRegister), 0u);
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, RegisterScopeIsGrantedInTheOtherSpelling_IsGoodEnough) {
  granted_ = "patient/*.rs system/dynamicClient.register";
  EXPECT_TRUE(Complete(*Begin())->ok());
}

TEST_F(EnrollmentFailureTest, ServerNeedNotGrantTheScope_RegistrationIsTriedAnyway) {
  Catalog catalog = MakeCatalog();
  catalog.servers[0].require_register_scope = false;
  catalog_.Set(catalog);
  granted_ = "patient/*.rs";
  EXPECT_TRUE(Complete(*Begin())->ok());
}

// The registration.

TEST_F(EnrollmentFailureTest, RegisteringCannotBeWrittenDown_NothingIsPosted) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  store().FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kStoreUnavailable);
  EXPECT_EQ(Requests(kRegister), 0u);
  EXPECT_EQ(keys_.keys(), 0);
  store().FailWrites(absl::OkStatus());
  Restart();
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, RecordCannotBeRemoved_IsRemovedWhenItCan) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  store().FailWrites(MakeError(Reason::kStoreFull, "disk full"));
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kStoreFull);
  Advance(absl::Hours(1));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kPending);
  store().FailWrites(absl::OkStatus());
  Advance(absl::Minutes(6));
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, OrphanCannotBeWrittenDown_IsToldAndWrittenWhenItCan) {
  on_register_ = [&](const RecordedRequest&) {
    store().FailWrites(MakeError(Reason::kStoreFull, "disk full"));
    return Reset();
  };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  Advance(absl::Hours(1));
  EXPECT_EQ(enrolled->reason(), Reason::kOrphaned);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kRegistering);
  store().FailWrites(absl::OkStatus());
  Advance(absl::Minutes(6));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
  EXPECT_EQ(Requests(kRegister), 2u);
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(EnrollmentFailureTest, RegistrationIsRefused_EachAnswerHasItsReasonAndNothingIsLeft) {
  const struct {
    FakeHttpClient::Result answer;
    Reason reason;
  } rows[] = {
      {Refused("invalid_client_metadata"), Reason::kSoftwareIdRefused},
      {Refused("invalid_software_statement"), Reason::kRegistrationRefused},
      {Refused("access_denied"), Reason::kInitialTokenRefused},
      {Refused("invalid_token", 401), Reason::kInitialTokenRefused},
      {Refused("insufficient_scope", 403), Reason::kRegistrationForbidden},
      {FakeAnswer{.status = 404, .content_type = "text/plain"}, Reason::kNoDynamicRegistration},
      {FakeAnswer{.status = 307}, Reason::kRedirectRefused},
      {FakeAnswer{.status = 201, .body = R"({"software_id":"software-1"})"},
       Reason::kRegistrationAnswerInvalid},
      {FakeAnswer{.status = 201, .body = R"({"client_id":"initial-client"})"},
       Reason::kRegistrationAnswerInvalid},
      {FakeAnswer{.status = 201, .body = R"({"client_id":"d","software_id":"another"})"},
       Reason::kRegistrationAnswerInvalid},
  };
  size_t posts = 0;
  for (const auto& row : rows) {
    on_register_ = [&](const RecordedRequest&) { return row.answer; };
    const auto enrolled = Complete(*Begin());
    Advance(absl::Seconds(5));
    EXPECT_EQ(enrolled->reason(), row.reason) << enrolled->result.status();
    EXPECT_EQ(Requests(kRegister), ++posts) << ReasonName(row.reason);
    ExpectNothingLeft();
  }
}

TEST_F(EnrollmentFailureTest, AnswerIsLostTwice_IsOrphanedAfterTheSecondPost) {
  on_register_ = [](const RecordedRequest&) { return Reset(); };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(enrolled->answers, 0);
  Advance(absl::Hours(1));
  EXPECT_EQ(enrolled->reason(), Reason::kOrphaned);
  ASSERT_EQ(Requests(kRegister), 2u);
  const auto posts = daemon_->http.requests(kRegister);
  EXPECT_EQ(posts[0].body, posts[1].body);  // the same key
  EXPECT_EQ(posts[0].bearer, posts[1].bearer);
  EXPECT_TRUE(posts[0].single_use_connection);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
  EXPECT_TRUE(store().Find(begun->registration_id)->newest().key.blob.empty());
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_EQ(TokenFor(begun->registration_id), "ORPHANED");
}

TEST_F(EnrollmentFailureTest, AnswerIsLostAndTheSecondPostIsAccepted_IsFine) {
  int posts = 0;
  on_register_ = [&](const RecordedRequest&) {
    return ++posts == 1 ? Answer(FakeAnswer{.status = 500}) : Created();
  };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Seconds(2));
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_EQ(posts, 2);
}

TEST_F(EnrollmentFailureTest, AnswerIsLostAndTheTokenIsBurnt_IsOrphaned) {
  for (const int status : {400, 401}) {
    int posts = 0;
    on_register_ = [&](const RecordedRequest&) {
      return ++posts == 1 ? Answer(Reset()) : Refused("invalid_token", status);
    };
    const absl::StatusOr<BegunEnrollment> begun = Begin();
    const auto enrolled = Complete(*begun);
    Advance(absl::Seconds(2));
    EXPECT_EQ(enrolled->reason(), Reason::kOrphaned);
    EXPECT_EQ(posts, 2);
    EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
    EXPECT_EQ(keys_.keys(), 0);
  }
}

TEST_F(EnrollmentFailureTest, AnswerIsGarbled_CountsAsLost) {
  on_register_ = [](const RecordedRequest&) {
    return FakeAnswer{.status = 201, .body = R"({"client_id":"d)"};
  };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Seconds(5));
  EXPECT_EQ(enrolled->reason(), Reason::kOrphaned);
  EXPECT_EQ(Requests(kRegister), 2u);
}

TEST_F(EnrollmentFailureTest, NothingWasSentOnce_TriesAgainWithTheSameToken) {
  int posts = 0;
  on_register_ = [&](const RecordedRequest&) {
    return ++posts == 1 ? Answer(NotSent()) : Created();
  };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Seconds(2));
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
  EXPECT_EQ(posts, 2);
}

TEST_F(EnrollmentFailureTest, NothingWasSentTwice_LeavesNothing) {
  on_register_ = [](const RecordedRequest&) { return NotSent(); };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Hours(1));
  EXPECT_EQ(enrolled->reason(), Reason::kServerUnreachable);
  EXPECT_EQ(Requests(kRegister), 2u);
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, ServerAsksForTime_TheSecondPostWaitsThatLong) {
  int posts = 0;
  on_register_ = [&](const RecordedRequest&) {
    return ++posts == 1 ? Answer(FakeAnswer{.status = 503, .headers = {{"retry-after", "20"}}})
                        : Created();
  };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Seconds(19));
  EXPECT_EQ(posts, 1);
  Advance(absl::Seconds(2));
  EXPECT_EQ(posts, 2);
  EXPECT_TRUE(enrolled->ok());
}

TEST_F(EnrollmentFailureTest, ServerAsksForMoreTimeThanTheTokenHas_IsNotAskedAgain) {
  on_register_ = [](const RecordedRequest&) {
    return FakeAnswer{.status = 503, .headers = {{"retry-after", "300"}}};
  };
  const auto enrolled = Complete(*Begin());
  EXPECT_EQ(enrolled->reason(), Reason::kOrphaned);
  Advance(absl::Hours(1));
  EXPECT_EQ(Requests(kRegister), 1u);
}

TEST_F(EnrollmentFailureTest, ClientIdIsAlreadyKnown_IsRefusedAndTheKeyDestroyed) {
  const auto first = Enroll();
  on_register_ = [](const RecordedRequest&) {
    return FakeAnswer{.status = 201, .body = R"({"client_id":"dynamic-1"})"};
  };
  EXPECT_EQ(Complete(*Begin())->reason(), Reason::kDuplicateClientId);
  EXPECT_EQ(store().List().size(), 1u);
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_TRUE(keys_.HasKey(store().Find(first->id)->newest().key));
}

TEST_F(EnrollmentFailureTest, ClientIdCannotBeSaved_IsToldKeptAndSavedLater) {
  on_register_ = [&](const RecordedRequest&) {
    store().FailWrites(MakeError(Reason::kStoreUnavailable, "disk full"));
    return Created();
  };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(enrolled->reason(), Reason::kRegisteredButNotDurable);
  EXPECT_EQ(manager().unsaved(), 1);
  EXPECT_EQ(keys_.keys(), 1);
  const auto later = Complete(*begun);
  EXPECT_EQ(later->answers, 0);
  Advance(absl::Hours(2));  // the disk stays full for long
  EXPECT_EQ(later->reason(), Reason::kRegisteredButNotDurable);
  store().FailWrites(absl::OkStatus());
  Advance(absl::Minutes(6));
  EXPECT_TRUE(Complete(*begun)->ok());
  EXPECT_EQ(manager().unsaved(), 0);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kActive);
  EXPECT_EQ(store().Find(begun->registration_id)->newest().client_id, "dynamic-1");
  EXPECT_EQ(Requests(kRegister), 1u);
}

// Verification.

TEST_F(EnrollmentFailureTest, FirstTokenCannotBeSaved_IsToldAtOnceAndTriedUntilItCan) {
  on_grant_ = [&](const RecordedRequest&) {
    store().FailWrites(MakeError(Reason::kStoreFull, "disk full"));
    return Token(kAccessToken, "patient/*.rs");
  };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(enrolled->reason(), Reason::kStoreFull);
  EXPECT_EQ(enrolled->result.status().message(), "registered; saving the first token: disk full");
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  EXPECT_EQ(manager().unsaved(), 0);
  on_grant_ = [&](const RecordedRequest&) { return Token(kAccessToken, "patient/*.rs"); };
  store().FailWrites(absl::OkStatus());
  Advance(absl::Seconds(2));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kActive);
}

TEST_F(EnrollmentFailureTest, ServerDoesNotKnowTheClientYet_IsTriedWithGrowingGapsAndNotCounted) {
  int refusals = 12;  // two sends an attempt
  std::vector<absl::Time> attempts;
  on_grant_ = [&](const RecordedRequest&) {
    attempts.push_back(clock_.Now());
    return refusals-- > 0 ? Refused("invalid_grant") : Token(kAccessToken, "patient/*.rs");
  };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  EXPECT_EQ(enrolled->answers, 0);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  EXPECT_EQ(TokenFor(begun->registration_id), "NOT_READY");
  Advance(absl::Seconds(14));
  EXPECT_EQ(enrolled->answers, 0);
  EXPECT_EQ(store().Find(begun->registration_id)->newest().refusals, 0);
  Advance(absl::Minutes(1));
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
  ASSERT_EQ(attempts.size(), 13u);
  const int gaps[] = {1, 2, 4, 8, 15, 15};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(attempts[2 * i + 2] - attempts[2 * i], absl::Seconds(gaps[i])) << i;
  }
}

TEST_F(EnrollmentFailureTest, FirstTokenDoesNotCome_WhoWaitsIsToldAndItIsTriedOn) {
  bool knows = false;
  on_grant_ = [&](const RecordedRequest&) {
    return knows ? Token(kAccessToken, "patient/*.rs") : Refused("invalid_client", 401);
  };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  const auto enrolled = Complete(*begun);
  Advance(absl::Minutes(3));
  EXPECT_EQ(enrolled->reason(), Reason::kNotReady);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  EXPECT_EQ(keys_.keys(), 1);
  Advance(absl::Hours(2));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  const size_t sends = Requests(kTokenUrl);
  Advance(absl::Hours(1));
  EXPECT_LE(Requests(kTokenUrl) - sends, 26u);  // every five minutes by now
  knows = true;
  Advance(absl::Minutes(6));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kActive);
  EXPECT_TRUE(Complete(*begun)->ok());
}

TEST_F(EnrollmentFailureTest, ServerIsBusyAtTheFirstToken_IsNotAskedBeforeItsTime) {
  int grants = 0;
  on_grant_ = [&](const RecordedRequest&) {
    return ++grants == 1 ? Answer(FakeAnswer{.status = 503, .headers = {{"retry-after", "90"}}})
                         : Token(kAccessToken, "patient/*.rs");
  };
  const auto enrolled = Complete(*Begin());
  Advance(absl::Seconds(89));
  EXPECT_EQ(grants, 1);
  Advance(absl::Seconds(3));
  EXPECT_TRUE(enrolled->ok());
}

TEST_F(EnrollmentFailureTest, ClientMayNotAskForTokens_IsMisconfiguredAndNotTriedAgain) {
  on_grant_ = [](const RecordedRequest&) { return Refused("unauthorized_client"); };
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kMisconfigured);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kMisconfigured);
  const size_t sends = Requests(kTokenUrl);
  Advance(absl::Hours(48));
  EXPECT_EQ(Requests(kTokenUrl), sends);
}

TEST_F(EnrollmentFailureTest, KeyIsLostBeforeTheFirstToken_IsSaidAndNotTriedForEver) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  on_register_ = [&](const RecordedRequest&) {
    keys_.LoseKey(store().Find(begun->registration_id)->newest().key);
    return Created();
  };
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kKeyGone);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kKeyLost);
  EXPECT_EQ(manager().pending(), 0);
}

// Deletion in the middle.

TEST_F(EnrollmentFailureTest, DeletedWhileThePostIsOut_TheDeletionStandsAndNoKeyIsLeft) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  bool removed = false;
  on_register_ = [&](const RecordedRequest&) {
    daemon_->remover.Remove(
        begun->registration_id, Anybody,
        [&](absl::StatusOr<RegistrationRemover::Removed> gone) { removed = gone.ok(); });
    return Created();
  };
  EXPECT_EQ(Complete(*begun)->reason(), Reason::kRegistrationNotFound);
  Advance(absl::Hours(1));
  EXPECT_TRUE(removed);
  ExpectNothingLeft();
}

TEST_F(EnrollmentFailureTest, DeletionIsUnderWayAtTheNextStep_IsNotTakenBack) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  on_code_ = [&](const RecordedRequest&) {
    store().Update(
        begun->registration_id,
        [](Registration& registration) {
          registration.generations[0].state = GenerationState::kDeleting;
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot>) {});
    return Token(kInitialToken, granted_);
  };
  EXPECT_FALSE(Complete(*begun)->ok());
  EXPECT_EQ(Requests(kRegister), 0u);
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(EnrollmentFailureTest, DaemonStops_WhoWaitsIsToldOnce) {
  keys_.set_hold(true);
  const auto enrolled = Complete(*Begin());
  daemon_->manager.reset();
  EXPECT_EQ(enrolled->reason(), Reason::kShuttingDown);
  keys_.set_hold(false);
  keys_.ReleaseAll();  // what was under way ends by itself
  EXPECT_EQ(enrolled->answers, 1);
}

}  // namespace
}  // namespace smartkey
