// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_key.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "daemon/audit/audit_line.h"
#include "daemon/jose/jwk.h"
#include "tests/daemon/audit/audit_samples.h"
#include "tests/fakes/fake_audit_log.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_key_service.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

class AuditKeyTest : public testing::Test {
 protected:
  // The key as a process finds it that has just started.
  AuditKey Found() { return AuditKey(keys_, scheduler_, log_, dir_.File(""), "label"); }
  std::string File() const {
    return dir_.File(absl::StrCat("key-", keys_.status().capabilities->provider, ".json"));
  }

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
  FakeAuditLog log_;
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
  const std::vector<AuditEntry> lines = log_.entries(kAuditKeyMade);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(FactOf(lines[0], "old"), "none");
  EXPECT_EQ(FactOf(lines[0], "new"), JwkThumbprint(first->public_key));
  EXPECT_EQ(FactOf(lines[1], "old"), JwkThumbprint(first->public_key));
  EXPECT_EQ(FactOf(lines[1], "new"), JwkThumbprint(second->public_key));
  EXPECT_EQ(FactOf(lines[1], "reason"), "KEY_LOST_TPM_CLEARED");
  EXPECT_EQ(later.thumbprint(), JwkThumbprint(second->public_key));
}

TEST_F(AuditKeyTest, AnotherKeyIsBeingMade_NoneCountsAsProvenUntilItHasSigned) {
  AuditKey key = Found(), later = Found();
  const absl::StatusOr<AuditSignature> first = Sign(key);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(key.proven_thumbprint(), JwkThumbprint(first->public_key));
  EXPECT_EQ(later.proven_thumbprint(), absl::nullopt) << "it has not signed yet";
  ASSERT_TRUE(Sign(later).ok());
  EXPECT_EQ(later.proven_thumbprint(), JwkThumbprint(first->public_key));

  keys_.set_hold(true);
  keys_.FailNextSign(MakeError(Reason::kKeyLostTpmCleared, "cleared"));
  std::thread signing([&] { EXPECT_TRUE(Sign(later).ok()); });
  const auto await_next = [&] {
    while (keys_.held() == 0) std::this_thread::yield();
  };
  await_next();
  keys_.Release(1);  // finds the loss
  await_next();
  EXPECT_EQ(later.proven_thumbprint(), absl::nullopt) << "one is being made";
  keys_.Release(1);
  await_next();
  EXPECT_EQ(later.proven_thumbprint(), absl::nullopt) << "it was made, and is to sign";
  keys_.Release(1);
  signing.join();
  EXPECT_EQ(later.proven_thumbprint(), later.thumbprint());
  EXPECT_NE(later.proven_thumbprint(), JwkThumbprint(first->public_key));
}

TEST_F(AuditKeyTest, OtherHardwareIsConfigured_AKeyIsMadeInItAndTheOldOneIsFoundAgain) {
  AuditKey key = Found(), later = Found();
  EXPECT_EQ(key.thumbprint(), absl::nullopt);
  const absl::StatusOr<AuditSignature> first = Sign(key);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(later.thumbprint(), JwkThumbprint(first->public_key)) << "as its file says";
  const ProviderStatus before = keys_.status();
  ProviderStatus status = before;
  status.capabilities->provider = "another";
  keys_.set_status(status);
  EXPECT_EQ(key.thumbprint(), absl::nullopt);
  EXPECT_TRUE(Sign(later).ok());
  EXPECT_EQ(keys_.creates(), 2);
  keys_.set_status(before);
  AuditKey last = Found();
  const absl::StatusOr<AuditSignature> again = Sign(last);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key, first->public_key);
}

TEST_F(AuditKeyTest, FileIsDamagedOrCannotBeRead_NoOtherKeyIsMade) {
  AuditKey key = Found();
  const absl::StatusOr<AuditSignature> first = Sign(key);
  ASSERT_TRUE(first.ok());
  const std::string kept = ReadFile(File());
  for (const std::string& text : {std::string("{"), std::string(), kept.substr(0, 40)}) {
    WriteFile(File(), text);
    AuditKey later = Found();
    EXPECT_EQ(ReasonOf(Sign(later).status()), Reason::kStoreUnavailable);
    EXPECT_EQ(ReadFile(File()), text);
  }
  ASSERT_EQ(unlink(File().c_str()), 0);
  ASSERT_EQ(symlink("/nowhere", File().c_str()), 0);
  {
    AuditKey later = Found();
    EXPECT_EQ(ReasonOf(Sign(later).status()), Reason::kStoreUnavailable);
  }
  ASSERT_EQ(unlink(File().c_str()), 0);
  WriteFile(File(), kept);
  AuditKey later = Found();
  const absl::StatusOr<AuditSignature> again = Sign(later);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key, first->public_key);
  EXPECT_EQ(keys_.creates(), 1);
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

// Killed in between, there is a line of a key that signs nothing, and never the reverse.
TEST_F(AuditKeyTest, KeyIsMade_ItsLineIsToldBeforeItIsKept) {
  class Watching : public FakeAuditLog {
   public:
    explicit Watching(std::string file) : file_(std::move(file)) {}
    void Note(const Caller* caller, absl::string_view operation, absl::string_view registration_id,
              const absl::Status& outcome, AuditFacts facts) override {
      was_kept = access(file_.c_str(), F_OK) == 0;
      FakeAuditLog::Note(caller, operation, registration_id, outcome, std::move(facts));
    }
    bool was_kept = true;

   private:
    const std::string file_;
  };
  Watching log(File());
  AuditKey key(keys_, scheduler_, log, dir_.File(""), "label");
  ASSERT_TRUE(Sign(key).ok());
  EXPECT_EQ(log.entries(kAuditKeyMade).size(), 1u);
  EXPECT_FALSE(log.was_kept);
  EXPECT_EQ(access(File().c_str(), F_OK), 0);
}

TEST_F(AuditKeyTest, OthersWantTheHardware_GoFirstForAMinuteAtMost) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  AuditKey key(keys_, scheduler, log_, dir_.File(""), "label");
  const auto set_queued = [this](int queued) {
    ProviderStatus status = keys_.status();
    status.queued = queued;
    keys_.set_status(status);
  };
  int signatures = 0;
  const auto sign = [&] {
    key.Sign("text", [&](absl::StatusOr<AuditSignature> made) {
      EXPECT_TRUE(made.ok()) << made.status();
      ++signatures;
    });
  };
  set_queued(1);
  sign();
  scheduler.Advance(absl::Seconds(50));
  EXPECT_EQ(signatures, 0);
  EXPECT_EQ(keys_.creates(), 0) << "neither is a key made";
  set_queued(0);
  scheduler.Advance(absl::Seconds(2));
  EXPECT_EQ(signatures, 1);

  set_queued(1);
  sign();
  scheduler.Advance(absl::Seconds(59));
  EXPECT_EQ(signatures, 1);
  scheduler.Advance(absl::Seconds(3));
  EXPECT_EQ(signatures, 2) << "whoever keeps the hardware busy does not keep the log unsigned";
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
