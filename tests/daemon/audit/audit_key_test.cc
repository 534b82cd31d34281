// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_key.h"

#include <gtest/gtest.h>

#include <thread>

#include "daemon/jose/jwk.h"
#include "tests/daemon/audit/audit_samples.h"
#include "tests/fakes/fake_key_service.h"

namespace smartkey {
namespace {

class AuditKeyTest : public testing::Test {
 protected:
  // The key as a process finds it that has just started.
  AuditKey Found() { return AuditKey(keys_, scheduler_, File(), "label"); }
  std::string File() const { return dir_.File("key.json"); }

  absl::StatusOr<AuditSignature> Sign(AuditKey& key) {
    absl::optional<absl::StatusOr<AuditSignature>> made;
    key.Sign("text", [&](absl::StatusOr<AuditSignature> signature) {
      MutexLock lock(mu_);
      made = std::move(signature);
      changed_.NotifyAll();
    });
    MutexLock lock(mu_);
    while (!made.has_value()) changed_.Wait(mu_);
    return *made;
  }

  TempDir dir_;
  const SystemClock clock_;
  FakeKeyService keys_;
  TimerThread scheduler_{clock_};
  Mutex mu_;
  CondVar changed_;
};

TEST_F(AuditKeyTest, ProcessStartsAgain_TheKeyIsTheSame) {
  AuditKey key = Found(), later = Found();
  const absl::StatusOr<AuditSignature> first = Sign(key);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::StatusOr<AuditSignature> second = Sign(later);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->public_key, second->public_key);
  EXPECT_EQ(keys_.creates(), 1);
}

TEST_F(AuditKeyTest, KeyIsLost_AnotherOneTakesItsPlace) {
  AuditKey key = Found(), later = Found();
  const absl::StatusOr<AuditSignature> first = Sign(key);
  ASSERT_TRUE(first.ok()) << first.status();
  keys_.FailNextSign(MakeError(Reason::kKeyLostTpmCleared, "cleared"));
  const absl::StatusOr<AuditSignature> second = Sign(later);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(first->public_key, second->public_key);
  EXPECT_TRUE(VerifySignature(second->public_key, second->algorithm, "text", second->signature));
}

TEST_F(AuditKeyTest, OtherHardwareIsConfigured_AKeyIsMadeInIt) {
  AuditKey key = Found(), later = Found();
  ASSERT_TRUE(Sign(key).ok());
  ProviderStatus status = keys_.status();
  status.capabilities->provider = "another";
  keys_.set_status(status);
  EXPECT_TRUE(Sign(later).ok());
  EXPECT_EQ(keys_.creates(), 2);
}

TEST_F(AuditKeyTest, AnotherTokenIsInTheReader_TheKeyIsWaitedFor) {
  AuditKey key = Found(), later = Found();
  const absl::StatusOr<AuditSignature> first = Sign(key);
  const std::string kept = ReadFile(File());
  keys_.FailNextSign(MakeError(Reason::kKeyUnavailable, "it was made in another token"));
  EXPECT_EQ(ReasonOf(Sign(later).status()), Reason::kKeyUnavailable);
  EXPECT_EQ(ReadFile(File()), kept);
  const absl::StatusOr<AuditSignature> second = Sign(later);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->public_key, second->public_key);
}

TEST_F(AuditKeyTest, HardwareFailsForAMoment_TheKeyStays) {
  AuditKey key = Found();
  ASSERT_TRUE(Sign(key).ok());
  const std::string kept = ReadFile(File());
  keys_.FailNextSign(MakeError(Reason::kHardwareBusy, "busy"));
  EXPECT_EQ(ReasonOf(Sign(key).status()), Reason::kHardwareBusy);
  EXPECT_EQ(ReadFile(File()), kept);
}

TEST_F(AuditKeyTest, SeveralAskForASignatureAtOnce_OneKeyIsMade) {
  AuditKey key = Found();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      absl::optional<absl::Status> made;
      key.Sign("text", [&](absl::StatusOr<AuditSignature> signature) {
        MutexLock lock(mu_);
        made = signature.status();
        changed_.NotifyAll();
      });
      MutexLock lock(mu_);
      while (!made.has_value()) changed_.Wait(mu_);
      EXPECT_TRUE(made->ok()) << *made;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(keys_.creates(), 1);
}

}  // namespace
}  // namespace smartkey
