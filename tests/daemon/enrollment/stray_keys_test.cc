// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/stray_keys.h"

#include <array>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/thumbprint.h"
#include "tests/fakes/fake_audit_log.h"
#include "tests/fakes/fake_key_service.h"
#include "tests/fakes/fake_registration_store.h"

namespace smartkey {
namespace {

using testing::HasSubstr;

constexpr char kInstance[] = "instance";

ListedKey Listed(const std::string& blob, const std::string& label) {
  return {.reference = {.provider = "pkcs11", .blob = blob}, .label = label};
}

RegistrationStore::Snapshot RegistrationWithKey(const std::string& id, const std::string& blob) {
  auto registration = std::make_shared<Registration>();
  registration->id = id;
  registration->generations.emplace_back();
  registration->generations[0].key = {.provider = "pkcs11", .blob = blob};
  return registration;
}

bool IsStray(const ListedKey& key, const std::vector<RegistrationStore::Snapshot>& registrations) {
  return FindStrayKeys({.keys = {key}}, kInstance, registrations, absl::nullopt).at(0).stray;
}

TEST(StrayKeys, KeyOfAGenerationOnRecord_IsNeeded) {
  const std::vector<StoredKey> keys =
      FindStrayKeys({.keys = {Listed("a", KeyLabel(kInstance, "reg", 1))}}, kInstance,
                    {RegistrationWithKey("reg", "a")}, absl::nullopt);
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_FALSE(keys[0].stray);
  EXPECT_EQ(keys[0].registration_id, "reg");
  EXPECT_EQ(keys[0].generation, 1);
}

TEST(StrayKeys, NoRecordOfItsRegistrationOrGeneration_IsStray) {
  EXPECT_TRUE(IsStray(Listed("a", KeyLabel(kInstance, "reg", 1)), {}));
  EXPECT_TRUE(
      IsStray(Listed("a", KeyLabel(kInstance, "other", 1)), {RegistrationWithKey("reg", "b")}));
  EXPECT_TRUE(
      IsStray(Listed("a", KeyLabel(kInstance, "reg", 2)), {RegistrationWithKey("reg", "b")}));
}

TEST(StrayKeys, LabelThatIsNotInOurForm_IsStrayAndNamesNothing) {
  for (const char* label : {"", "smartkeyd:instance:reg", "smartkeyd:instance:reg:x",
                            "smartkeyd:another:reg:1", "smartkeyd:instance:reg:1:2"}) {
    const std::vector<StoredKey> keys =
        FindStrayKeys({.keys = {Listed("a", label)}}, kInstance, {RegistrationWithKey("reg", "b")},
                      absl::nullopt);
    EXPECT_TRUE(keys[0].stray) << label;
    EXPECT_EQ(keys[0].registration_id, "") << label;
  }
}

TEST(StrayKeys, ReferenceNotWrittenYet_KeyOfThatGenerationIsNeeded) {
  EXPECT_FALSE(
      IsStray(Listed("a", KeyLabel(kInstance, "reg", 1)), {RegistrationWithKey("reg", "")}));
}

TEST(StrayKeys, ReferenceReadsDifferently_KeyIsNeededUnlessAnotherIsKnownToBeTheOne) {
  const std::string label = KeyLabel(kInstance, "reg", 1);
  EXPECT_FALSE(IsStray(Listed("a", label), {RegistrationWithKey("reg", "b")}));

  const std::vector<StoredKey> keys =
      FindStrayKeys({.keys = {Listed("a", label), Listed("b", label)}}, kInstance,
                    {RegistrationWithKey("reg", "b")}, absl::nullopt);
  EXPECT_TRUE(keys[0].stray);
  EXPECT_FALSE(keys[1].stray);
}

TEST(StrayKeys, TwoRsaKeysOfOneLabel_AreToldApartByTheirThumbprints) {
  const std::string label = KeyLabel(kInstance, "reg", 1);
  auto registration = std::make_shared<Registration>(*RegistrationWithKey("reg", "as RS384"));
  registration->generations[0].thumbprint = absl::WebSafeBase64Escape("needed");
  // Neither reference reads as on record, since a token keeps no hash for an RSA key.
  ListedKey needed = Listed("as RS256, one", label);
  needed.id = "needed";
  ListedKey left_behind = Listed("as RS256, another", label);
  left_behind.id = "left behind";
  const std::vector<StoredKey> keys =
      FindStrayKeys({.keys = {left_behind, needed}}, kInstance, {registration}, absl::nullopt);
  EXPECT_TRUE(keys[0].stray);
  EXPECT_FALSE(keys[1].stray);
}

// The audit log's keys, each with an id as its blob; `signs` is the one that does now.
std::vector<bool> StrayAuditKeys(const std::vector<std::string>& ids,
                                 const absl::optional<std::string>& signs,
                                 const std::string& label = KeyLabel(kInstance, kAuditKeyOwner,
                                                                     1)) {
  KeyInventory inventory;
  for (const std::string& id : ids) {
    inventory.keys.push_back(Listed(id, label));
    inventory.keys.back().id = id;
  }
  absl::optional<std::string> thumbprint;
  if (signs.has_value()) thumbprint = absl::WebSafeBase64Escape(*signs);
  std::vector<bool> stray;
  for (const StoredKey& key : FindStrayKeys(inventory, kInstance, {}, thumbprint)) {
    stray.push_back(key.stray);
  }
  return stray;
}

TEST(StrayKeys, KeysOfTheAuditLog_AllButTheOneThatSignsAreStray) {
  EXPECT_EQ(StrayAuditKeys({"old", "now", "older"}, "now"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(StrayAuditKeys({"now"}, "now"), std::vector<bool>{false});
}

TEST(StrayKeys, WhichKeySignsTheAuditLogIsNotKnownOrItIsNotListed_NoneOfItsIsStray) {
  EXPECT_EQ(StrayAuditKeys({"old", "now"}, absl::nullopt), (std::vector<bool>{false, false}));
  EXPECT_EQ(StrayAuditKeys({"old", "older"}, "now"), (std::vector<bool>{false, false}))
      << "a token may keep ids of its own";
}

TEST(StrayKeys, KeyThatSignsTheAuditLogHasAnotherLabel_IsNeededAllTheSame) {
  EXPECT_EQ(StrayAuditKeys({"now", "old"}, "now", "renamed"), (std::vector<bool>{false, true}));
}

// One registration with a key, and three keys that none needs.
class RemovingStrayKeys : public testing::Test {
 protected:
  RemovingStrayKeys() {
    needed_ = keys_.MakeKey(SignatureAlgorithm::kEs256);
    Insert("reg", needed_);
    for (CreatedKey& stray : strays_) stray = keys_.MakeKey(SignatureAlgorithm::kEs256);
  }

  void Insert(const std::string& id, const CreatedKey& key) {
    Registration registration;
    registration.id = id;
    registration.name = Identifying(id);
    registration.generations.emplace_back();
    registration.generations[0].key = key.reference;
    registration.generations[0].enrollment_id = id;
    store_.Insert(registration, [](absl::Status status) { ASSERT_TRUE(status.ok()) << status; });
  }

  void Remove(StrayKeyChoice choice) {
    RemoveStrayKeys(
        keys_, store_, audit_, std::move(choice), cancelled_,
        [this](const StoredKey& key) { destroyed_.push_back(key.reference); },
        [this](absl::StatusOr<std::vector<StoredKey>> removed) {
          ++answers_;
          removed_ = std::move(removed);
        });
  }

  std::vector<bool> Left() const {
    std::vector<bool> left = {keys_.HasKey(needed_.reference)};
    for (const CreatedKey& stray : strays_) left.push_back(keys_.HasKey(stray.reference));
    return left;
  }

  FakeKeyService keys_;
  FakeRegistrationStore store_;
  FakeAuditLog audit_;
  CreatedKey needed_;
  std::array<CreatedKey, 3> strays_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  int answers_ = 0;
  std::vector<KeyReference> destroyed_;
  absl::StatusOr<std::vector<StoredKey>> removed_;
};

TEST_F(RemovingStrayKeys, All_DestroysEachAndNoKeyThatIsNeeded) {
  Remove({.all = true});
  ASSERT_TRUE(removed_.ok()) << removed_.status();
  EXPECT_EQ(removed_->size(), 3u);
  EXPECT_EQ(destroyed_.size(), 3u);
  EXPECT_EQ(Left(), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(answers_, 1);
  Remove({.all = true});
  EXPECT_TRUE(removed_.ok() && removed_->empty());
}

TEST_F(RemovingStrayKeys, OneById_LeavesTheOthers) {
  Remove({.ids = {Thumbprint(strays_[1].public_key)}});
  ASSERT_TRUE(removed_.ok()) << removed_.status();
  ASSERT_EQ(removed_->size(), 1u);
  EXPECT_EQ((*removed_)[0].reference, strays_[1].reference);
  EXPECT_EQ(Left(), (std::vector<bool>{true, true, false, true}));
}

TEST_F(RemovingStrayKeys, IdOfANeededKeyOrOfNone_RemovesNothing) {
  for (const std::string& id : {Thumbprint(needed_.public_key), std::string("none")}) {
    Remove({.ids = {Thumbprint(strays_[0].public_key), id}});
    EXPECT_EQ(ReasonOf(removed_.status()), Reason::kInvalidArgument);
    EXPECT_EQ(Left(), (std::vector<bool>{true, true, true, true}));
  }
}

TEST_F(RemovingStrayKeys, RegistrationsAreNotKnown_RemovesNothing) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "damaged"));
  Remove({.all = true});
  EXPECT_EQ(ReasonOf(removed_.status()), Reason::kStoreUnavailable);
  EXPECT_EQ(Left(), (std::vector<bool>{true, true, true, true}));
}

TEST_F(RemovingStrayKeys, HardwareFailsAtTheSecond_SaysThatOneIsGone) {
  keys_.set_hold(true);
  Remove({.all = true});
  keys_.Release(2);  // the list, and one key
  keys_.FailNextDestroy(MakeError(Reason::kHardwareAbsent, "taken out"));
  keys_.ReleaseAll();
  EXPECT_EQ(ReasonOf(removed_.status()), Reason::kHardwareAbsent);
  EXPECT_THAT(removed_.status().message(), HasSubstr("after 1 had been removed"));
  EXPECT_EQ(destroyed_.size(), 1u) << "was told when it went";
  EXPECT_EQ(answers_, 1);
  EXPECT_EQ(keys_.keys(), 3);
}

TEST_F(RemovingStrayKeys, KeyThatARecoveredRegistrationNeeds_IsLeftAlone) {
  keys_.set_hold(true);
  Remove({.all = true});
  keys_.Release(1);
  for (const CreatedKey& stray : strays_) Insert(stray.reference.blob, stray);
  keys_.ReleaseAll();  // the one that was on its way
  ASSERT_TRUE(removed_.ok()) << removed_.status();
  EXPECT_EQ(removed_->size(), 1u);
  EXPECT_EQ(keys_.keys(), 3);
}

TEST_F(RemovingStrayKeys, KeyThatSignsTheAuditLog_IsLeftAlone) {
  AuditCondition condition;
  condition.key = absl::WebSafeBase64Escape(Thumbprint(strays_[1].public_key));
  audit_.set_condition(condition);
  Remove({.ids = {Thumbprint(strays_[1].public_key)}});
  EXPECT_EQ(ReasonOf(removed_.status()), Reason::kInvalidArgument);
  Remove({.all = true});
  ASSERT_TRUE(removed_.ok()) << removed_.status();
  EXPECT_EQ(Left(), (std::vector<bool>{true, false, true, false}));
}

TEST_F(RemovingStrayKeys, CallerGivesUp_StopsAfterTheKeyOnItsWay) {
  keys_.set_hold(true);
  Remove({.all = true});
  keys_.Release(1);
  *cancelled_ = true;
  keys_.ReleaseAll();
  EXPECT_EQ(ReasonOf(removed_.status()), Reason::kCancelled);
  EXPECT_EQ(keys_.keys(), 3);
}

}  // namespace
}  // namespace smartkey
