// SPDX-License-Identifier: Apache-2.0
// Tokens over a restart: a second TokenManager with what the first one left in memory.
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/token/token_record.h"
#include "tests/daemon/token/region_memory.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

constexpr char kOwner[] = "boot-1 instance-1";
constexpr int kSlots = 8;

class KeptTokensTest : public TokenManagerTest {
 protected:
  KeptTokensTest() {
    absl::StatusOr<std::unique_ptr<TokenRegion>> made = TokenRegion::Create(kOwner, kSlots);
    EXPECT_TRUE(made.ok()) << made.status();
    memory_ = std::make_unique<KeptMemory>((*made)->fd());
    manager_->KeepTokensIn(*std::move(made));
  }

  // Ends the process, and starts another when `meanwhile` has been done.
  void Restart(std::function<void()> meanwhile = [] {}) {
    manager_.reset();
    meanwhile();
    manager_ = std::make_unique<TokenManager>(catalog_, store_, minter_, scheduler_, clock_);
    absl::StatusOr<std::unique_ptr<TokenRegion>> adopted =
        TokenRegion::Adopt(memory_->HandOver(), kOwner, kSlots);
    ASSERT_TRUE(adopted.ok()) << adopted.status();
    manager_->KeepTokensIn(*std::move(adopted));
  }

  // That the restart cost the token, and that nothing is left of it.
  void ExpectGone(const std::string& value) {
    EXPECT_EQ(manager_->status().cached_tokens, 0);
    EXPECT_FALSE(memory_->Contains(value));
  }

  // For each slot in use what it says.
  std::vector<TokenRecord> Records() {
    absl::StatusOr<std::unique_ptr<TokenRegion>> adopted =
        TokenRegion::Adopt(memory_->HandOver(), kOwner, kSlots);
    EXPECT_TRUE(adopted.ok()) << adopted.status();
    std::vector<TokenRecord> records;
    for (const TokenRegion::Record& one : (*adopted)->Read()) {
      absl::optional<TokenRecord> record = DecodeTokenRecord(one.bytes.RevealSecret());
      EXPECT_TRUE(record.has_value());
      if (record.has_value()) records.push_back(*std::move(record));
    }
    return records;
  }

  std::unique_ptr<KeptMemory> memory_;
};

TEST_F(KeptTokensTest, Restarted_TheTokenIsServedWithoutAMintAndAsOldAsItIs) {
  Cache("token-1", absl::Hours(1));
  const std::shared_ptr<Asked> before = Ask();
  Restart([&] { clock_.Advance(absl::Minutes(10)); });
  const std::shared_ptr<Asked> after = Ask();
  ASSERT_EQ(after->value(), "token-1");
  EXPECT_EQ(after->source(), TokenSource::kCache);
  EXPECT_EQ(minter_.mints(), 1);
  EXPECT_TRUE(after->result->token->expires == before->result->token->expires);
  EXPECT_LE(
      absl::AbsDuration(after->result->token->refresh_after - before->result->token->refresh_after),
      absl::Nanoseconds(1));
  EXPECT_EQ(after->result->token->expires_at, before->result->token->expires_at);
  clock_.Advance(absl::Minutes(50));
  Ask();
  EXPECT_EQ(minter_.mints(), 2) << "served for longer than an hour";
}

TEST_F(KeptTokensTest, RestartedTwentyTimes_EveryScopeSetsTokenIsStillThere) {
  for (const char* scope : {"a", "b", "c"}) {
    minter_.Script(Token(absl::StrCat("token-", scope)));
    ASSERT_TRUE(Ask("r1", {scope})->ok());
  }
  for (int i = 0; i < 20; ++i) Restart();
  for (const char* scope : {"a", "b", "c"}) {
    EXPECT_EQ(Ask("r1", {scope})->value(), absl::StrCat("token-", scope));
  }
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(KeptTokensTest, TokenExpiresMeanwhile_IsWiped) {
  Cache("token-1", absl::Hours(1));
  Restart([&] { clock_.Advance(absl::Hours(1)); });
  ExpectGone("token-1");
}

TEST_F(KeptTokensTest, TimeSinceBootIsLessThanWhenItWasReceived_IsWiped) {
  clock_.Advance(absl::Hours(10));
  Cache("token-1", absl::Hours(1));
  const BootTime received = clock_.Boot();
  Restart([&] { clock_.Advance(-absl::Minutes(1)); });
  ASSERT_LT(clock_.Boot(), received);
  ExpectGone("token-1");
}

TEST_F(KeptTokensTest, RegistrationIsDifferentThanItWas_TheTokenIsWipedAndCostsOneMint) {
  const std::vector<std::pair<std::string, std::function<void(Registration&)>>> changes = {
      {"suspended", [](Registration& one) { one.suspension = Suspension{.by_uid = 1000}; }},
      {"renewed",
       [](Registration& one) {
         one.generations.push_back(MakeGeneration(2, GenerationState::kActive, true));
       }},
      {"the same generation with another key",
       [](Registration& one) { one.generations[0].thumbprint = "another"; }},
      {"another patient", [](Registration& one) { one.patient = Identifying("patient-2"); }},
      {"needs its person",
       [](Registration& one) { one.generations[0].state = GenerationState::kReauthRequired; }},
      {"its key is lost",
       [](Registration& one) { one.generations[0].state = GenerationState::kKeyLost; }},
      {"context changed",
       [](Registration& one) { one.generations[0].state = GenerationState::kContextChanged; }},
      {"being deleted",
       [](Registration& one) { one.generations[0].state = GenerationState::kDeleting; }},
  };
  int number = 10;
  for (const auto& [what, change] : changes) {
    const std::string id = absl::StrCat("r", number++);
    Add(MakeRegistration(id));
    Cache(absl::StrCat("token-of-", id), absl::Hours(1), id);
    ASSERT_TRUE(memory_->Contains(absl::StrCat("token-of-", id)));
    Restart([&, &change = change] { Change(id, change); });
    EXPECT_EQ(manager_->status().cached_tokens, 0) << what;
    EXPECT_FALSE(memory_->Contains(absl::StrCat("token-of-", id))) << what;
  }
}

TEST_F(KeptTokensTest, RegistrationIsRefusedButNotGivenUp_TheTokenIsServedToItsEnd) {
  Cache("token-1", absl::Hours(1));
  Restart([&] {
    Change("r1", [](Registration& one) { one.generations[0].state = GenerationState::kSuspect; });
  });
  EXPECT_EQ(Ask()->value(), "token-1");
}

TEST_F(KeptTokensTest, RegistrationIsDeletedMeanwhile_TheTokenIsWiped) {
  Cache("token-1", absl::Hours(1));
  Restart([&] { store_.Remove("r1", [](absl::Status removed) { EXPECT_TRUE(removed.ok()); }); });
  ExpectGone("token-1");
}

TEST_F(KeptTokensTest, Forgotten_ItIsWipedAtOnceAndStaysSo) {
  Add(MakeRegistration("r2"));
  Cache("token-1", absl::Hours(1));
  Cache("token-2", absl::Hours(1), "r2");
  manager_->Forget("r1");  // what came out is wiped as well
  EXPECT_FALSE(memory_->Contains("token-1"));
  EXPECT_TRUE(memory_->Contains("token-2"));
  Restart();
  EXPECT_EQ(manager_->status().cached_tokens, 1);
}

TEST_F(KeptTokensTest, TokenIsReportedAsRejected_ItDoesNotComeBack) {
  Cache("token-1", absl::Hours(1));
  ASSERT_TRUE(manager_->ReportRejected("r1", 1000, Secret("token-1"))->dropped);
  EXPECT_FALSE(memory_->Contains("token-1"));
  minter_.Answer(Token("token-2"));
  Restart();
  EXPECT_EQ(Ask()->value(), "token-2");
}

TEST_F(KeptTokensTest, TokenIsReplaced_OnlyTheNewOneIsThere) {
  for (int i = 1; i <= 3 * kSlots; ++i) {
    minter_.Script(Token(absl::StrCat("token-", i, "-end")));
    ASSERT_TRUE(Ask(TokenRequest{.registration_id = "r1", .min_valid = absl::Minutes(59)})->ok());
    clock_.Advance(absl::Minutes(2));
  }
  EXPECT_FALSE(memory_->Contains(absl::StrCat("token-", 3 * kSlots - 1, "-end")));
  ASSERT_EQ(Records().size(), 1U);
  Restart();
  EXPECT_EQ(Ask()->value(), absl::StrCat("token-", 3 * kSlots, "-end"));
}

TEST_F(KeptTokensTest, KilledBetweenTheNewOneAndTheWipingOfTheOld_TheNewOneCounts) {
  Cache("token-1", absl::Hours(1));
  Restart([&] {
    absl::StatusOr<std::unique_ptr<TokenRegion>> region =
        TokenRegion::Adopt(memory_->HandOver(), kOwner, kSlots);
    ASSERT_TRUE(region.ok());
    const Secret record = EncodeTokenRecord({"r1", 1, ""}, Token("token-2"));
    ASSERT_TRUE((*region)->Write(record.RevealSecret()).has_value());
  });
  EXPECT_EQ(Ask()->value(), "token-2");
  EXPECT_FALSE(memory_->Contains("token-1"));
  EXPECT_EQ(manager_->status().cached_tokens, 1);
}

TEST_F(KeptTokensTest, OneSlotIsDamaged_CostsOneMintAndNoOther) {
  Add(MakeRegistration("r2"));
  Cache("token-1", absl::Hours(1));
  Cache("token-2", absl::Hours(1), "r2");
  ASSERT_EQ(minter_.mints(), 2);
  Restart([&] { memory_->slot(0)[KeptMemory::kRecord + 20] ^= 4; });
  EXPECT_EQ(Ask("r2")->value(), "token-2");
  EXPECT_EQ(minter_.mints(), 2);
  Ask("r1");
  EXPECT_EQ(minter_.mints(), 3);
  minter_.Answer(Token("token-3"));
  Restart();
  EXPECT_EQ(Ask("r1")->value(), "token-3");
  EXPECT_EQ(Ask("r2")->value(), "token-2");
  EXPECT_EQ(minter_.mints(), 3);
}

TEST_F(KeptTokensTest, RecordIsWholeButNoToken_IsWiped) {
  Cache("token-1", absl::Hours(1));
  Restart([&] {
    absl::StatusOr<std::unique_ptr<TokenRegion>> region =
        TokenRegion::Adopt(memory_->HandOver(), kOwner, kSlots);
    ASSERT_TRUE(region.ok());
    ASSERT_TRUE((*region)->Write("something else altogether").has_value());
  });
  EXPECT_EQ(Ask()->value(), "token-1");
  EXPECT_FALSE(memory_->Contains("something else"));
}

TEST_F(KeptTokensTest, ThereIsNoRoom_ItIsServedAllTheSameAndMintedAgainByTheNext) {
  for (int i = 0; i < kSlots + 2; ++i) {
    minter_.Script(Token(absl::StrCat("token-", i)));
    ASSERT_TRUE(Ask("r1", {absl::StrCat("scope-", i)})->ok());
  }
  for (int i = 0; i < kSlots + 2; ++i) {
    EXPECT_EQ(Ask("r1", {absl::StrCat("scope-", i)})->value(), absl::StrCat("token-", i));
  }
  // One that has a slot is replaced in it.
  ASSERT_TRUE(manager_->ReportRejected("r1", 1000, Secret("token-0"))->dropped);
  minter_.Answer(Token("token-0-again"));
  Restart();
  EXPECT_EQ(manager_->status().cached_tokens, kSlots);
  EXPECT_EQ(Ask("r1", {"scope-0"})->value(), "token-0-again");
}

TEST_F(KeptTokensTest, NoSlotIsFreeAndOneIsRefreshed_ItsOwnIsUsed) {
  for (int i = 0; i < kSlots; ++i) {
    minter_.Script(Token(absl::StrCat("token-", i, "-end")));
    ASSERT_TRUE(Ask("r1", {absl::StrCat("scope-", i)})->ok());
  }
  clock_.Advance(absl::Minutes(2));
  minter_.Script(Token("token-new"));
  ASSERT_TRUE(
      Ask(TokenRequest{
              .registration_id = "r1", .scopes = {"scope-3"}, .min_valid = absl::Minutes(59)})
          ->ok());
  EXPECT_FALSE(memory_->Contains("token-3-end"));
  Restart();
  EXPECT_EQ(Ask("r1", {"scope-3"})->value(), "token-new");
  EXPECT_EQ(manager_->status().cached_tokens, kSlots);
}

TEST_F(KeptTokensTest, TokenIsTooLongForASlot_IsServedAllTheSame) {
  const std::string longest(TokenRegion::kSlotSize, 't');
  Cache(longest, absl::Hours(1));
  EXPECT_EQ(Ask()->value(), longest);
  Restart();
  EXPECT_EQ(manager_->status().cached_tokens, 0);
}

TEST_F(KeptTokensTest, NobodyAsksAnyMore_AnExpiredTokenIsWipedWithinAMinute) {
  Cache("token-1", absl::Minutes(10));
  scheduler_.Advance(absl::Minutes(9));
  EXPECT_TRUE(memory_->Contains("token-1"));
  scheduler_.Advance(absl::Minutes(2));
  EXPECT_FALSE(memory_->Contains("token-1"));
}

TEST_F(KeptTokensTest, TokenMustNotBeKept_IsNotThere) {
  AccessToken token = Token("token-1");
  token.cacheable = false;
  minter_.Script(std::move(token));
  ASSERT_TRUE(Ask()->ok());
  EXPECT_FALSE(memory_->Contains("token-1"));
}

TEST_F(KeptTokensTest, ManyThreadsPutAndDrop_TheMemoryHasExactlyWhatIsCached) {
  absl::StatusOr<std::unique_ptr<TokenRegion>> made = TokenRegion::Create(kOwner, kSlots);
  ASSERT_TRUE(made.ok()) << made.status();
  memory_ = std::make_unique<KeptMemory>((*made)->fd());
  TokenCache cache;
  cache.KeepIn(*std::move(made));
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([this, &cache, number] {
      for (int turn = 0; turn < 500; ++turn) {
        const std::string id = absl::StrCat("r", turn % 3);
        cache.Put({id, 1, ""}, std::make_shared<const AccessToken>(
                                   Token(absl::StrCat("token-", number, "-", turn))));
        if (turn % 7 == number) cache.EraseRegistration(id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<TokenRecord> records = Records();
  EXPECT_EQ(static_cast<int>(records.size()), cache.size());
  for (const TokenRecord& record : records) {
    const std::shared_ptr<const AccessToken> cached = cache.Find(record.key, clock_.Boot());
    ASSERT_NE(cached, nullptr);
    EXPECT_TRUE(Secret::Equal(cached->value, record.token.value.RevealSecret()));
  }
}

// The database could not be read at the start.
TEST_F(KeptTokensTest, MemoryIsTakenUpLater_WhatWasMintedMeanwhileCountsAndIsKept) {
  Add(MakeRegistration("r2"));
  Cache("token-1", absl::Hours(1));
  Cache("token-2", absl::Hours(1), "r2");
  manager_ = std::make_unique<TokenManager>(catalog_, store_, minter_, scheduler_, clock_);
  Cache("token-1-new", absl::Hours(1));
  absl::StatusOr<std::unique_ptr<TokenRegion>> adopted =
      TokenRegion::Adopt(memory_->HandOver(), kOwner, kSlots);
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  manager_->KeepTokensIn(*std::move(adopted));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Ask("r1")->value(), "token-1-new");
    EXPECT_EQ(Ask("r2")->value(), "token-2");
    Restart();
  }
  EXPECT_EQ(Records().size(), 2U);
}

TEST_F(KeptTokensTest, FirstTokenOfAnEnrollment_IsKeptToo) {
  Registration registration = MakeRegistration("r2");
  registration.generations = {MakeGeneration(1, GenerationState::kVerifying, false)};
  registration.generations[0].enrollment_id = "enrollment-of-r2";
  Add(std::move(registration));
  minter_.Script(Token("first-token"));
  absl::Status fetched = absl::UnknownError("no answer");
  manager_->FetchFirstToken("r2", 1,
                            [&](absl::StatusOr<TokenResult> result) { fetched = result.status(); });
  ASSERT_TRUE(fetched.ok()) << fetched;
  Restart();
  EXPECT_EQ(Ask("r2")->value(), "first-token");
}

}  // namespace
}  // namespace smartkey
