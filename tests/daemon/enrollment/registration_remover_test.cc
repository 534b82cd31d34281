// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_remover.h"

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
    daemon_->remover.Remove(id, [outcome](absl::StatusOr<RegistrationRemover::Removed> removed) {
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

}  // namespace
}  // namespace smartkey
