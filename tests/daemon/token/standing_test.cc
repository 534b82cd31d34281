// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/standing.h"

#include <string>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/daemon/token/token_fixture.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

class StandingTest : public testing::Test {
 protected:
  Registration With(GenerationState state, const std::string& id = "r1") {
    Registration registration = MakeRegistration(id);
    registration.generations[0].state = state;
    registration.generations[0].key = {"fake", "blob"};
    return registration;
  }
  void Insert(Registration registration) {
    store_.Insert(std::move(registration),
                  [](absl::Status inserted) { EXPECT_TRUE(inserted.ok()); });
  }
  void Hardware(ProviderState state, absl::Status error, bool known = true) {
    ProviderStatus status = keys_.status();
    status.state = state;
    status.last_error = std::move(error);
    status.known = known;
    keys_.set_status(std::move(status));
  }

  FakeClock clock_;
  CurrentCatalog catalog_{MakeCatalog()};
  FakeRegistrationStore store_;
  FakeKeyService keys_;
  Standings standings_{store_, catalog_, keys_, "fake", clock_};
};

TEST_F(StandingTest, Works_HasNoCause) {
  const Standing standing = standings_.Of(With(GenerationState::kActive));
  EXPECT_EQ(standing.state, GenerationState::kActive);
  EXPECT_EQ(standing.words, "working");
  EXPECT_TRUE(standing.cause.ok());
  EXPECT_EQ(standing.next_attempt, absl::InfinitePast());
}

TEST_F(StandingTest, HardwareIsAway_EachStateShowsWhatCounts) {
  Hardware(ProviderState::kAbsent, MakeError(Reason::kHardwareAbsent, "unplugged"));
  for (const StateRow& row : AllStates()) {
    const bool shown =
        row.state == GenerationState::kVerifying || row.state == GenerationState::kActive ||
        row.state == GenerationState::kSuspect || row.state == GenerationState::kReauthRequired;
    const Standing standing = standings_.Of(With(row.state));
    EXPECT_EQ(standing.state, shown ? GenerationState::kKeyUnavailable : row.state) << row.name;
    EXPECT_EQ(standings_.StateOf(With(row.state)), standing.state) << row.name;
    if (!shown) continue;
    EXPECT_EQ(standing.words, "needs the administrator") << row.name;
    EXPECT_EQ(ReasonOf(standing.cause), Reason::kHardwareAbsent) << row.name;
  }
}

TEST_F(StandingTest, HardwareIsBack_IsWhatItWas) {
  Hardware(ProviderState::kAbsent, MakeError(Reason::kHardwareAbsent, "unplugged"));
  EXPECT_EQ(standings_.StateOf(With(GenerationState::kSuspect)), GenerationState::kKeyUnavailable);
  Hardware(ProviderState::kReady, absl::OkStatus());
  EXPECT_EQ(standings_.StateOf(With(GenerationState::kSuspect)), GenerationState::kSuspect);
}

TEST_F(StandingTest, HardwareFailsOrWasNotLookedForYet_IsNoReason) {
  Hardware(ProviderState::kDegraded, MakeError(Reason::kHardwareDegraded, "hangs"));
  EXPECT_EQ(standings_.StateOf(With(GenerationState::kActive)), GenerationState::kActive);
  Hardware(ProviderState::kAbsent, MakeError(Reason::kHardwareAbsent, "not opened yet"), false);
  EXPECT_EQ(standings_.StateOf(With(GenerationState::kActive)), GenerationState::kActive);
}

TEST_F(StandingTest, AnotherProviderIsConfigured_SaysWhichMadeTheKey) {
  const Standings other(store_, catalog_, keys_, "pkcs11", clock_);
  const Standing standing = other.Of(With(GenerationState::kActive));
  EXPECT_EQ(standing.state, GenerationState::kKeyUnavailable);
  EXPECT_EQ(ReasonOf(standing.cause), Reason::kKeyUnavailable);
  EXPECT_EQ(standing.cause.message(), "the key was made in a fake, and pkcs11 is configured");
}

TEST_F(StandingTest, ServerWasRemoved_NeedsTheAdministratorAndTheStateStays) {
  catalog_.Set(Catalog());
  const Standing standing = standings_.Of(With(GenerationState::kActive));
  EXPECT_EQ(standing.state, GenerationState::kActive);
  EXPECT_EQ(standing.words, "needs the administrator");
  EXPECT_EQ(ReasonOf(standing.cause), Reason::kServerRemoved);
  EXPECT_EQ(standing.server_name, "mercy");
}

TEST_F(StandingTest, ServerWasRenamed_ShowsTodaysName) {
  Catalog renamed = MakeCatalog();
  renamed.servers[0].name = "mercy-hospital";
  catalog_.Set(renamed);
  const Standing standing = standings_.Of(With(GenerationState::kActive));
  EXPECT_EQ(standing.server_name, "mercy-hospital");
  EXPECT_TRUE(standing.cause.ok());
}

TEST_F(StandingTest, Refused_SaysBothHalvesAndWhenItIsTriedAgain) {
  Registration refused = With(GenerationState::kSuspect);
  refused.generations[0].refusals = 2;
  refused.generations[0].last_refusal_at = clock_.Now();
  Insert(refused);
  const Standing standing = standings_.Of(refused);
  EXPECT_EQ(ReasonOf(standing.cause), Reason::kRefusedByServer);
  EXPECT_NE(RemedyOf(standing.cause).find("otherwise wait, next try"), std::string::npos);
  EXPECT_GT(standing.next_attempt, clock_.Now() + absl::Minutes(50));
  EXPECT_TRUE(standing.warnings.empty());

  Registration younger = With(GenerationState::kActive, "r2");
  younger.generations[0].registered_at = clock_.Now();
  Insert(younger);
  EXPECT_EQ(standings_.Of(refused).warnings,
            std::vector<RegistrationWarning>{RegistrationWarning::kMaybeSuperseded});
}

TEST_F(StandingTest, RenewalCameBackForAnotherPatient_SaysWhatCanBeDone) {
  Registration changed = With(GenerationState::kActive);
  changed.generations.push_back(MakeGeneration(2, GenerationState::kContextChanged, false));
  const Standing standing = standings_.Of(changed);
  EXPECT_EQ(standing.state, GenerationState::kContextChanged);
  EXPECT_NE(RemedyOf(standing.cause).find("--new-patient"), std::string::npos);
  EXPECT_EQ(standing.cause.ToString().find("patient-1"), std::string::npos);
}

TEST_F(StandingTest, OwnerHasAnotherOfTheSameAppAndServer_IsASibling) {
  const Registration one = With(GenerationState::kActive);
  Insert(one);
  EXPECT_FALSE(standings_.HasSibling(one));
  Registration of_another_owner = With(GenerationState::kActive, "r2");
  of_another_owner.owner_uid = 1001;
  Insert(of_another_owner);
  EXPECT_FALSE(standings_.HasSibling(one));
  Insert(With(GenerationState::kActive, "r3"));
  EXPECT_TRUE(standings_.HasSibling(one));
}

TEST_F(StandingTest, Suspended_SaysSoWhateverTheState) {
  Registration suspended = With(GenerationState::kSuspect);
  suspended.suspension = Suspension{.by_uid = 1000, .by_name = "alice"};
  EXPECT_EQ(standings_.Of(suspended).words, "suspended");
}

TEST_F(StandingTest, WasRefusedBeforeItCameToAnotherState_ThatStateIsToldAndNotTheRefusal) {
  for (const StateRow& row : AllStates()) {
    Registration registration = With(row.state);
    registration.generations[0].refusals = 2;
    registration.generations[0].first_refusal_at = clock_.Now() - absl::Hours(2);
    registration.generations[0].last_refusal_at = clock_.Now() - absl::Minutes(1);
    const Standing standing = standings_.Of(registration);
    const bool refused =
        row.state == GenerationState::kSuspect || row.state == GenerationState::kReauthRequired;
    EXPECT_EQ(standing.next_attempt != absl::InfinitePast(), refused) << row.name;
    if (refused) continue;
    EXPECT_EQ(ReasonOf(standing.cause), row.refusal) << row.name;
  }
}

}  // namespace
}  // namespace smartkey
