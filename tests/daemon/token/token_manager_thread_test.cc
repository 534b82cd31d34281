// SPDX-License-Identifier: Apache-2.0
// Many threads at one manager: for what a sanitizer sees, and for counts.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/token/token_manager.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

constexpr int kThreads = 100;

TEST_F(TokenManagerTest, HundredThreadsMissTogether_FetchOnce) {
  std::atomic<int> answered{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      manager_->GetAccessToken(TokenRequest{.registration_id = "r1"},
                               clock_.Boot() + absl::Minutes(1),
                               [&](absl::StatusOr<TokenResult> result) {
                                 if (!result.ok() || result->token->value.RevealSecret() != "t1") {
                                   ++wrong;
                                 }
                                 ++answered;
                               });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 0);
  EXPECT_EQ(minter_.held(), 1u);
  std::thread([&] { minter_.Answer(Token("t1")); }).join();
  EXPECT_EQ(answered, kThreads);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(minter_.mints(), 1);
}

TEST_F(TokenManagerTest, EverythingAtOnce_EachCallerIsAnsweredExactlyOnce) {
  Add(MakeRegistration("r2"));
  constexpr int kCalls = 200;
  std::atomic<int> answered{0};
  std::atomic<bool> stop{false};

  std::thread server([&] {
    for (int i = 0; !stop; ++i) {
      if (i % 7 == 3) {
        minter_.Answer(MakeError(Reason::kInvalidScope, "no"));
      } else {
        minter_.Answer(Token("t", i % 3 == 0 ? absl::ZeroDuration() : absl::Hours(1)));
      }
      std::this_thread::yield();
    }
  });
  std::thread owner([&] {
    while (!stop) {
      manager_->Forget("r1");
      manager_->status();
      scheduler_.Advance(absl::Milliseconds(1));
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const TokenManager::RequestId id = manager_->GetAccessToken(
            TokenRequest{.registration_id = i % 2 == 0 ? "r1" : "r2",
                         .scopes = i % 3 == 0 ? ScopeSet{} : ScopeSet{"launch"}},
            i % 5 == 0 ? clock_.Boot() + absl::Milliseconds(2) : BootTime::InfiniteFuture(),
            [&](absl::StatusOr<TokenResult>) { ++answered; });
        if (i % 11 == t) manager_->Cancel(id);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  const absl::Time patience = absl::Now() + absl::Seconds(60);
  while (answered < 4 * kCalls && absl::Now() < patience) std::this_thread::yield();
  stop = true;
  server.join();
  owner.join();
  EXPECT_EQ(answered, 4 * kCalls);
  manager_.reset();
  EXPECT_EQ(answered, 4 * kCalls);
}

}  // namespace
}  // namespace smartkey
