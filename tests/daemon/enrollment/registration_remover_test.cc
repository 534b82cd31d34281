// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_remover.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

class RegistrationRemoverTest : public EnrollmentTest {
 protected:
  struct Outcome {
    int answers = 0;
    absl::StatusOr<RegistrationRemover::Removed> result = absl::UnknownError("no answer yet");
  };
  std::shared_ptr<Outcome> Remove(const std::string& id) {
    auto outcome = std::make_shared<Outcome>();
    daemon_->remover.Remove(id, Anybody,
                            [outcome](absl::StatusOr<RegistrationRemover::Removed> removed) {
                              ++outcome->answers;
                              outcome->result = std::move(removed);
                            });
    return outcome;
  }
};

TEST_F(RegistrationRemoverTest, OwnerDeletes_KeyTokensAndRecordAreGone) {
  const auto registration = Enroll();
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 1);
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok()) << removed->result.status();
  EXPECT_EQ(removed->result->management_endpoint, "https://ehr.example/manage");
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 0);
  EXPECT_EQ(TokenFor(registration->id), "REGISTRATION_NOT_FOUND");
}

TEST_F(RegistrationRemoverTest, InWhateverStateItIs_IsDeleted) {
  for (const StateRow& row : AllStates()) {
    const auto registration = Enroll();
    store().Update(
        registration->id,
        [&](Registration& changed) {
          changed.generations[0].state = row.state;
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> done) { EXPECT_TRUE(done.ok()); });
    EXPECT_TRUE(Remove(registration->id)->result.ok()) << row.name;
    EXPECT_EQ(keys_.keys(), 0) << row.name;
    EXPECT_TRUE(store().List().empty()) << row.name;
  }
}

TEST_F(RegistrationRemoverTest, DiskIsSlow_DeletingIsDurableBeforeAnythingIsDestroyed) {
  const auto registration = Enroll();
  store().Hold();
  const auto removed = Remove(registration->id);
  EXPECT_EQ(keys_.keys(), 1);
  store().Run(1);
  EXPECT_EQ(StateOf(registration->id), GenerationState::kDeleting);
  EXPECT_EQ(TokenFor(registration->id), "DELETING");
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_EQ(removed->answers, 0);
  store().Run(1);
  EXPECT_TRUE(removed->result.ok());
  EXPECT_TRUE(store().List().empty());
}

TEST_F(RegistrationRemoverTest, DiskIsFullBeforeTheRecordGoes_IsToldAndItGoesLater) {
  const auto registration = Enroll();
  store().Hold();
  const auto removed = Remove(registration->id);
  store().Run(1);
  store().FailWrites(MakeError(Reason::kStoreFull, "disk full"));
  store().Run(1);
  EXPECT_EQ(ReasonOf(removed->result.status()), Reason::kStoreFull);
  EXPECT_EQ(removed->result.status().message(),
            "deleted, but its record is still on the disk: disk full");
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_EQ(StateOf(registration->id), GenerationState::kDeleting);
  store().Release();
  Advance(absl::Hours(1));
  EXPECT_EQ(StateOf(registration->id), GenerationState::kDeleting);
  store().FailWrites(absl::OkStatus());
  Advance(absl::Minutes(6));
  EXPECT_TRUE(store().List().empty());
}

TEST_F(RegistrationRemoverTest, HardwareIsSlow_TheRecordStaysUntilTheKeyIsGone) {
  const auto registration = Enroll();
  keys_.set_hold(true);
  const auto removed = Remove(registration->id);
  EXPECT_EQ(StateOf(registration->id), GenerationState::kDeleting);
  EXPECT_EQ(removed->answers, 0);
  keys_.ReleaseAll();
  EXPECT_TRUE(removed->result.ok());
}

TEST_F(RegistrationRemoverTest, RenewalIsUnderWay_BothKeysAreDestroyed) {
  const auto registration = Enroll();
  EnrollmentRequest renewal = Request();
  renewal.renews = registration->id;
  const auto begun = Begin(renewal);
  EXPECT_EQ(keys_.keys(), 2);
  Remove(registration->id);
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_FALSE(Complete(*begun)->ok());
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(Requests(kRegister), 1u);
}

TEST_F(RegistrationRemoverTest, KeyCannotBeDestroyed_DoesNotHoldTheRemovalUp) {
  const auto registration = Enroll();
  keys_.set_destroy_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  EXPECT_TRUE(Remove(registration->id)->result.ok());
  EXPECT_TRUE(store().List().empty());
}

TEST_F(RegistrationRemoverTest, StoreFails_NothingIsDestroyed) {
  const auto registration = Enroll();
  store().FailWrites(MakeError(Reason::kStoreUnavailable, "read-only"));
  EXPECT_EQ(ReasonOf(Remove(registration->id)->result.status()), Reason::kStoreUnavailable);
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_NE(TokenFor(registration->id).find(kAccessToken), std::string::npos);
}

TEST_F(RegistrationRemoverTest, RegistrationIsUnknown_IsNotFound) {
  EXPECT_EQ(Remove("unknown")->result.status(), RegistrationNotFound());
}

TEST_F(RegistrationRemoverTest, DeletedTwiceAtOnce_BothAreTold) {
  const auto registration = Enroll();
  store().Hold();
  const auto first = Remove(registration->id), second = Remove(registration->id);
  store().Release();
  EXPECT_TRUE(first->result.ok()) << first->result.status();
  EXPECT_TRUE(second->result.ok()) << second->result.status();
  EXPECT_EQ(first->answers + second->answers, 2);
  EXPECT_EQ(keys_.keys(), 0);
}

// A server that can be told that tokens are not needed any more.
class RevocationTest : public RegistrationRemoverTest {
 protected:
  RevocationTest() { has_revocation_endpoint_ = true; }

  // A token for these scopes, into the cache.
  void CacheToken(const std::string& id, const std::string& scopes) {
    bool fetched = false;
    daemon_->tokens.GetAccessToken(
        TokenRequest{.registration_id = id, .scopes = ParseScope(scopes)},
        BootTime::InfiniteFuture(),
        [&](absl::StatusOr<TokenResult> result) { fetched = result.ok(); });
    ASSERT_TRUE(fetched);
  }
};

TEST_F(RevocationTest, TokensAreCached_EachIsRevokedWhileItsKeyIsStillThere) {
  const auto registration = Enroll();
  CacheToken(registration->id, "patient/*.rs");
  int keys_then = 0;
  on_revoke_ = [&](const RecordedRequest&) {
    keys_then = keys_.keys();
    EXPECT_EQ(StateOf(registration->id), GenerationState::kDeleting);
    return FakeAnswer{.body = ""};
  };
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok()) << removed->result.status();
  EXPECT_EQ(removed->result->tokens_revoked, 2);
  EXPECT_EQ(keys_then, 1);
  const auto sent = daemon_->http.requests(kRevoke);
  ASSERT_EQ(sent.size(), 2u);
  for (const RecordedRequest& request : sent) {
    EXPECT_EQ(request.Form("token"), absl::StrCat(kAccessToken, "-dynamic-1"));
    EXPECT_EQ(request.Form("token_type_hint"), "access_token");
    EXPECT_EQ(request.Form("client_id"), "dynamic-1");
    EXPECT_EQ(request.Form("client_assertion"), "");
    EXPECT_LE(request.timeout, absl::Seconds(5));
  }
  EXPECT_TRUE(store().List().empty());
}

TEST_F(RevocationTest, NothingGoodIsCached_TheServerIsNotAsked) {
  const auto expired = Enroll();
  Advance(absl::Hours(2));
  EXPECT_TRUE(Remove(expired->id)->result.ok());
  const auto forgotten = Enroll();
  daemon_->tokens.Forget(forgotten->id);
  EXPECT_TRUE(Remove(forgotten->id)->result.ok());
  EXPECT_EQ(Requests(kRevoke), 0u);
}

TEST_F(RevocationTest, ServerHasNoSuchEndpoint_NothingIsSent) {
  has_revocation_endpoint_ = false;
  const auto registration = Enroll();
  const size_t before = daemon_->http.requests().size();
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok());
  EXPECT_EQ(removed->result->tokens_revoked, 0);
  EXPECT_EQ(daemon_->http.requests().size(), before);
}

TEST_F(RevocationTest, ServerIsNoLongerConfigured_ItsPinnedEndpointIsTold) {
  const auto registration = Enroll();
  catalog_.Set(Catalog{});
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok());
  EXPECT_EQ(removed->result->tokens_revoked, 1);
  EXPECT_EQ(Requests(kRevoke), 1u);
}

TEST_F(RevocationTest, RevocationFails_TheRestIsDone) {
  const Answer failures[] = {Refused("unsupported_token_type"), FakeAnswer{.status = 503},
                             MakeError(Reason::kServerUnreachable, "broken"),
                             FakeAnswer{.status = 302}};
  for (const Answer& failure : failures) {
    const auto registration = Enroll();
    on_revoke_ = [&](const RecordedRequest&) { return failure; };
    const auto removed = Remove(registration->id);
    ASSERT_TRUE(removed->result.ok()) << removed->result.status();
    EXPECT_EQ(removed->result->tokens_revoked, 0);
    EXPECT_EQ(keys_.keys(), 0);
    EXPECT_TRUE(store().List().empty());
  }
  EXPECT_EQ(Requests(kRevoke), std::size(failures));
}

TEST_F(RevocationTest, ServerIsSlow_NothingIsHandedOutMeanwhile) {
  const auto registration = Enroll();
  daemon_->http.Hold();
  const auto removed = Remove(registration->id);
  EXPECT_EQ(removed->answers, 0);
  EXPECT_EQ(TokenFor(registration->id), "DELETING");
  EXPECT_EQ(daemon_->tokens.status().cached_tokens, 0);
  daemon_->http.Hold(false);
  daemon_->http.ReleaseAll();
  EXPECT_TRUE(removed->result.ok());
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(RevocationTest, ServerWantsClientAuthentication_AnAssertionOfItsOwnGoesAlong) {
  on_register_ = [](const RecordedRequest&) {
    return FakeAnswer{.status = 201,
                      .body = R"({"client_id":"dynamic-1",)"
                              R"("token_endpoint_auth_method":"private_key_jwt"})"};
  };
  const auto registration = Enroll();
  ASSERT_TRUE(registration->newest().requires_client_authentication);
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok());
  EXPECT_EQ(removed->result->tokens_revoked, 1);
  const RecordedRequest sent = daemon_->http.requests(kRevoke).at(0);
  EXPECT_EQ(sent.Form("client_assertion_type"),
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
  const std::string assertion = sent.Form("client_assertion");
  EXPECT_EQ(std::count(assertion.begin(), assertion.end(), '.'), 2);
  for (const RecordedRequest& earlier : daemon_->http.requests(kTokenUrl)) {
    EXPECT_NE(earlier.Form("assertion"), assertion);
    EXPECT_NE(earlier.Form("client_assertion"), assertion);
  }
}

TEST_F(RevocationTest, KeyCannotSignForTheRevocation_TheDeletionGoesOn) {
  on_register_ = [](const RecordedRequest&) {
    return FakeAnswer{.status = 201,
                      .body = R"({"client_id":"dynamic-1",)"
                              R"("token_endpoint_auth_method":"private_key_jwt"})"};
  };
  const auto registration = Enroll();
  keys_.set_sign_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  const auto removed = Remove(registration->id);
  ASSERT_TRUE(removed->result.ok());
  EXPECT_EQ(removed->result->tokens_revoked, 0);
  EXPECT_EQ(Requests(kRevoke), 0u);
  EXPECT_TRUE(store().List().empty());
}

TEST_F(RevocationTest, KilledAtEachStep_TheNextStartFinishesIt) {
  enum { kMarked, kRevoking, kDestroying, kRemoving };
  for (const int step : {kMarked, kRevoking, kDestroying, kRemoving}) {
    const auto registration = Enroll();
    if (step == kMarked) store().Hold();
    if (step == kRevoking) daemon_->http.Hold();
    if (step == kDestroying) keys_.set_hold(true);
    if (step == kRemoving) {
      // The first write succeeds, the last one is what the kill comes before.
      store().FailWritesAfter(1, MakeError(Reason::kStoreUnavailable, "killed"));
    }
    const auto removed = Remove(registration->id);
    if (step == kMarked) store().Run(1);
    EXPECT_TRUE(step == kMarked || step == kRemoving || removed->answers == 0) << step;
    Restart();
    keys_.set_hold(false);
    ASSERT_EQ(store().List().size(), 1u) << step;
    EXPECT_EQ(TokenFor(registration->id), "DELETING") << step;
    daemon_->remover.Recover();
    EXPECT_TRUE(store().List().empty()) << step;
    EXPECT_EQ(keys_.keys(), 0) << step;
  }
}

TEST_F(RegistrationRemoverTest, KilledInBetween_TheNextStartFinishesIt) {
  const auto other = Enroll();
  const auto registration = Enroll();
  store().Hold();
  Remove(registration->id);
  store().Run(1);
  Restart();
  ASSERT_EQ(store().List().size(), 2u);
  daemon_->remover.Recover();
  ASSERT_EQ(store().List().size(), 1u);
  EXPECT_EQ(store().List()[0]->id, other->id);
  EXPECT_EQ(keys_.keys(), 1);
}

TEST_F(RegistrationRemoverTest, RightEndsBeforeItsTurn_NothingIsRemoved) {
  const auto registration = Enroll();
  store().Hold();
  Reason reason = Reason::kUnspecified;
  bool may = true;
  daemon_->remover.Remove(
      registration->id,
      [&](const Registration&) { return may ? absl::OkStatus() : RegistrationNotFound(); },
      [&](absl::StatusOr<RegistrationRemover::Removed> removed) {
        reason = ReasonOf(removed.status());
      });
  may = false;
  store().Release();
  EXPECT_EQ(reason, Reason::kRegistrationNotFound);
  EXPECT_EQ(StateOf(registration->id), GenerationState::kActive);
  EXPECT_EQ(keys_.keys(), 1);
}

}  // namespace
}  // namespace smartkey
