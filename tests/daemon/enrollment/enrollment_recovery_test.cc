// SPDX-License-Identifier: Apache-2.0
// What a start finds after a kill at each step, and what it makes of it.
#include <string>
#include <vector>

#include "tests/daemon/enrollment/enrollment_fixture.h"

namespace smartkey {
namespace {

TEST_F(EnrollmentTest, KilledWhileThePersonWasInTheBrowser_LeavesNothing) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  EXPECT_EQ(keys_.keys(), 1);
  Restart();
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().List().empty());
  EXPECT_EQ(manager().pending(), 0);
  EXPECT_FALSE(Complete(*begun)->ok());
  EXPECT_EQ(CodeExchanges(), 0u);
  EXPECT_TRUE(Begin().ok());
}

TEST_F(EnrollmentTest, KilledBeforeTheKeyWasMade_LeavesNothing) {
  keys_.set_hold(true);
  ASSERT_TRUE(Begin().ok());
  const std::vector<Registration> contents = store().Contents();
  keys_.set_hold(false);
  keys_.ReleaseAll();
  Restart(contents);
  EXPECT_TRUE(store().List().empty());
}

TEST_F(EnrollmentTest, KilledWhileThePostWasOut_IsOrphanedWithItsKeyDestroyed) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  std::vector<Registration> at_post;
  on_register_ = [&](const RecordedRequest&) {
    at_post = store().Contents();
    return Created();
  };
  Complete(*begun);
  ASSERT_EQ(at_post.size(), 1u);
  Restart(at_post);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_EQ(TokenFor(begun->registration_id), "ORPHANED");
  EXPECT_EQ(Requests(kRegister), 0u);  // the new process posts nothing
  Restart();                           // and stays so
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
}

TEST_F(EnrollmentTest, KilledBeforeTheFirstToken_TakesVerificationUpAgain) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  on_grant_ = [](const RecordedRequest&) { return Refused("invalid_grant"); };
  Complete(*begun);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  Restart();
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kVerifying);
  on_grant_ = nullptr;
  Advance(absl::Seconds(2));
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kActive);
  const auto enrolled = Complete(*begun);
  ASSERT_TRUE(enrolled->ok());
  EXPECT_EQ((*enrolled->result)->id, begun->registration_id);
  EXPECT_EQ(Requests(kRegister), 0u);
}

TEST_F(EnrollmentTest, KilledAfterSuccess_GivesTokensAtOnce) {
  const auto enrolled = Enroll();
  Restart();
  EXPECT_EQ(StateOf(enrolled->id), GenerationState::kActive);
  EXPECT_EQ(TokenFor(enrolled->id), absl::StrCat(kAccessToken, "-dynamic-1"));
}

TEST_F(EnrollmentTest, KilledBetweenSwapAndDestruction_TheOldKeyIsDestroyedAtTheNextStart) {
  const auto before = Enroll();
  const KeyReference old_key = before->newest().key;
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  keys_.set_destroy_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  ASSERT_TRUE(Complete(*Begin(renewal))->ok());
  EXPECT_EQ(store().Find(before->id)->generations.size(), 2u);
  EXPECT_EQ(store().Find(before->id)->state(), GenerationState::kActive);
  EXPECT_TRUE(keys_.HasKey(old_key));
  Restart();  // still unplugged
  EXPECT_EQ(store().Find(before->id)->generations.size(), 2u);
  keys_.set_destroy_status(absl::OkStatus());
  Restart();
  EXPECT_FALSE(keys_.HasKey(old_key));
  EXPECT_EQ(store().Find(before->id)->generations.size(), 1u);
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-2"));
}

TEST_F(EnrollmentTest, OldKeyWasATpmsAndThatIsAway_ItEndsWithItsRecord) {
  const auto before = Enroll();
  store().Update(
      before->id,
      [](Registration& registration) {
        registration.generations[0].key.provider = "tpm";
        return absl::OkStatus();
      },
      [](absl::StatusOr<RegistrationStore::Snapshot> changed) { ASSERT_TRUE(changed.ok()); });
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  keys_.set_destroy_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  ASSERT_TRUE(Complete(*Begin(renewal))->ok());
  EXPECT_EQ(store().Find(before->id)->generations.size(), 1u);
  EXPECT_EQ(TokenFor(before->id), absl::StrCat(kAccessToken, "-dynamic-2"));
}

TEST_F(EnrollmentTest, KilledBeforeTheKeyOfADroppedRenewalWasDestroyed_TheNextStartDoesIt) {
  const auto before = Enroll();
  EnrollmentRequest renewal = Request();
  renewal.renews = before->id;
  patient_ = kOtherPatient;
  keys_.set_destroy_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  EXPECT_EQ(Complete(*Begin(renewal))->reason(), Reason::kContextChanged);
  EXPECT_EQ(keys_.keys(), 2);
  keys_.set_destroy_status(absl::OkStatus());
  Restart();
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_TRUE(store().Find(before->id)->newest().key.blob.empty());
  EXPECT_EQ(store().Find(before->id)->state(), GenerationState::kContextChanged);
}

TEST_F(EnrollmentTest, OrphanedWhileTheTokenIsAway_ItsKeyIsKnownUntilItIsDestroyed) {
  const absl::StatusOr<BegunEnrollment> begun = Begin();
  std::vector<Registration> at_post;
  on_register_ = [&](const RecordedRequest&) {
    at_post = store().Contents();
    return Created();
  };
  Complete(*begun);
  keys_.set_destroy_status(MakeError(Reason::kHardwareAbsent, "unplugged"));
  Restart(at_post);
  EXPECT_EQ(StateOf(begun->registration_id), GenerationState::kOrphaned);
  EXPECT_FALSE(store().Find(begun->registration_id)->newest().key.blob.empty());
  Restart();  // still unplugged
  EXPECT_EQ(keys_.keys(), 1);
  keys_.set_destroy_status(absl::OkStatus());
  Advance(absl::Hours(1));
  EXPECT_EQ(keys_.keys(), 0);
  EXPECT_TRUE(store().Find(begun->registration_id)->newest().key.blob.empty());
}

TEST_F(EnrollmentTest, KilledAtAnyWriteOfARenewal_TheOldOrTheNewGenerationServes) {
  const auto before = Enroll();
  const std::vector<Registration> enrolled = store().Contents();
  const KeyReference old_key = before->newest().key;
  for (int writes = 0; writes <= 5; ++writes) {
    Restart(enrolled);
    if (!keys_.HasKey(old_key)) break;  // the renewal went through
    EnrollmentRequest renewal = Request();
    renewal.renews = before->id;
    store().FailWritesAfter(writes, MakeError(Reason::kStoreUnavailable, "killed"));
    const auto begun = Begin(renewal);
    if (begun.ok()) Complete(*begun);
    // No orderly end: what is on the disk now is what the next start finds.
    Restart(store().Contents());
    const std::string token = TokenFor(before->id);
    if (token != "NOT_READY") {
      EXPECT_EQ(token.find(kAccessToken), 0u) << writes << " " << token;
    }
    EXPECT_NE(store().Find(before->id)->serving(), nullptr) << writes;
    EXPECT_TRUE(keys_.HasKey(store().Find(before->id)->serving()->key)) << writes;
  }
}

}  // namespace
}  // namespace smartkey
