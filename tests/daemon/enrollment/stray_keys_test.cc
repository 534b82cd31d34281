// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/stray_keys.h"

#include <memory>

#include "gtest/gtest.h"

namespace smartkey {
namespace {

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
  return FindStrayKeys({.keys = {key}}, kInstance, registrations).at(0).stray;
}

TEST(StrayKeys, KeyOfAGenerationOnRecord_IsNeeded) {
  const std::vector<StoredKey> keys =
      FindStrayKeys({.keys = {Listed("a", KeyLabel(kInstance, "reg", 1))}}, kInstance,
                    {RegistrationWithKey("reg", "a")});
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
        FindStrayKeys({.keys = {Listed("a", label)}}, kInstance, {RegistrationWithKey("reg", "b")});
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
                    {RegistrationWithKey("reg", "b")});
  EXPECT_TRUE(keys[0].stray);
  EXPECT_FALSE(keys[1].stray);
}

}  // namespace
}  // namespace smartkey
