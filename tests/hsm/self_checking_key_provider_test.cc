// SPDX-License-Identifier: Apache-2.0
#include "hsm/self_checking_key_provider.h"

#include <memory>
#include <string>

#include "base/error.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_key_provider.h"

namespace smartkey {
namespace {

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;

class SelfCheckingKeyProviderTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(provider_.Open().ok());
    key_ = provider_.CreateKey(kEs256, "one").value();
    other_ = provider_.CreateKey(kEs256, "two").value();
  }

  // kUnspecified: a signature came out, right or wrong.
  Reason Sign(const CreatedKey& key) {
    return ReasonOf(provider_.Sign(key.reference, key.public_key, kEs256, "message").status());
  }
  // What the provider does with a wrong signature of `key`: whether it looks at it.
  bool Checks(const CreatedKey& key) {
    hardware_->CorruptNextSignatures(1);
    return Sign(key) == Reason::kSignatureWrong;
  }

  std::shared_ptr<FakeHardware> hardware_ = std::make_shared<FakeHardware>();
  SelfCheckingKeyProvider provider_{std::make_unique<FakeKeyProvider>(hardware_)};
  CreatedKey key_;
  CreatedKey other_;
};

TEST_F(SelfCheckingKeyProviderTest, FirstSignatureOfEachKey_IsCheckedAndLaterOnesAreNot) {
  EXPECT_TRUE(Checks(key_));
  EXPECT_TRUE(Checks(key_)) << "until it was right once";
  EXPECT_EQ(Sign(key_), Reason::kUnspecified);
  EXPECT_FALSE(Checks(key_));
  EXPECT_TRUE(Checks(other_));
  EXPECT_EQ(Sign(other_), Reason::kUnspecified);
  EXPECT_FALSE(Checks(other_));
  EXPECT_FALSE(Checks(key_));
}

TEST_F(SelfCheckingKeyProviderTest, OpenedAnew_EveryKeyIsCheckedAgain) {
  EXPECT_EQ(Sign(key_), Reason::kUnspecified);
  ASSERT_TRUE(provider_.Open().ok());
  EXPECT_TRUE(Checks(key_));
}

TEST_F(SelfCheckingKeyProviderTest, HardwareMetAnewWithinACall_TheSignatureOfThatCallIsChecked) {
  EXPECT_EQ(Sign(key_), Reason::kUnspecified);
  EXPECT_EQ(Sign(other_), Reason::kUnspecified);
  hardware_->set_reloads(1);
  EXPECT_TRUE(Checks(key_));
  EXPECT_TRUE(Checks(other_));
  EXPECT_EQ(Sign(key_), Reason::kUnspecified);
  EXPECT_FALSE(Checks(key_));
}

TEST_F(SelfCheckingKeyProviderTest, ErrorsOfTheProvider_ArePassedOn) {
  hardware_->FailNext(FakeHardware::Operation::kSign, MakeError(Reason::kTpmLockout, "locked"));
  EXPECT_EQ(Sign(key_), Reason::kTpmLockout);
  EXPECT_TRUE(provider_.DestroyKey(key_.reference).ok());
  EXPECT_EQ(Sign(key_), Reason::kKeyGone);
}

}  // namespace
}  // namespace smartkey
