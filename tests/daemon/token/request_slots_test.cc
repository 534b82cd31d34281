// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/request_slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/daemon/token/token_fixture.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(RequestSlots, MoreThanAServerTakes_TheRestWaitInOrder) {
  RequestSlots slots(2);
  std::vector<int> started;
  for (int i = 0; i < 4; ++i) slots.Start("a", [&started, i] { started.push_back(i); });
  EXPECT_THAT(started, ElementsAre(0, 1));
  slots.End("a");
  EXPECT_THAT(started, ElementsAre(0, 1, 2));
  slots.End("a");
  EXPECT_THAT(started, ElementsAre(0, 1, 2, 3));
  slots.End("a");
  slots.End("a");
  started.clear();
  for (int i = 0; i < 3; ++i) slots.Start("a", [&started, i] { started.push_back(i); });
  EXPECT_THAT(started, ElementsAre(0, 1));
}

TEST(RequestSlots, AnotherServer_HasItsOwn) {
  RequestSlots slots(1);
  std::vector<std::string> started;
  for (const char* server : {"a", "b", "a"}) {
    slots.Start(server, [&started, server] { started.push_back(server); });
  }
  EXPECT_THAT(started, ElementsAre("a", "b"));
}

TEST(RequestSlots, ThousandsThatEndAtOnce_AllHaveTheirTurn) {
  RequestSlots slots(1);
  slots.Start("a", [] {});
  int started = 0;
  for (int i = 0; i < 100'000; ++i) {
    slots.Start("a", [&] {
      ++started;
      slots.End("a");
    });
  }
  EXPECT_EQ(started, 0);
  slots.End("a");
  EXPECT_EQ(started, 100'000);
  slots.Start("a", [&] { ++started; });
  EXPECT_EQ(started, 100'001);
}

TEST(RequestSlots, ManyThreads_NeverMoreThanTheBoundAtATimeAndNoneIsForgotten) {
  RequestSlots slots(3);
  std::atomic<int> running = 0, most = 0, ended = 0;
  const auto run = [&] {
    for (int i = 0; i < 2'000; ++i) {
      slots.Start("a", [&] {
        const int now = ++running;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        --running;
        ++ended;
        slots.End("a");
      });
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended, 8'000);
  EXPECT_LE(most, 3);
}

class BoundedRequestsTest : public TokenManagerTest {
 protected:
  static constexpr int kMost = 16;

  // Each for a registration of its own.
  std::vector<std::shared_ptr<Asked>> AskForEach(int count, const std::string& prefix,
                                                 const std::string& endpoint = kEndpoint) {
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < count; ++i) {
      const std::string id = absl::StrCat(prefix, i);
      Add(MakeRegistration(id, endpoint));
      asked.push_back(Ask(id));
    }
    return asked;
  }
};

TEST_F(BoundedRequestsTest, ManyRegistrationsOfAServer_SixteenAreAskedForAtATimeAndAllAreAnswered) {
  const auto asked = AskForEach(20, "many-");
  EXPECT_EQ(minter_.held(), kMost);
  const auto other = AskForEach(1, "other-", "https://other.example/token");
  EXPECT_EQ(minter_.held(), kMost + 1u);
  EXPECT_TRUE(minter_.Answer(Token("t"), kMost));
  EXPECT_TRUE(other[0]->ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(minter_.Answer(Token(absl::StrCat("t", i)))) << i;
  for (const auto& one : asked) EXPECT_TRUE(one->ok()) << one->result.status();
  EXPECT_EQ(minter_.mints(), 21);
}

TEST_F(BoundedRequestsTest, ServerAsksForTimeMeanwhile_ThoseWhoWaitForAPlaceAreNotSent) {
  const auto asked = AskForEach(20, "many-");
  ASSERT_TRUE(minter_.Answer(
      WithRetryAfter(MakeError(Reason::kServerBusy, "status 503"), absl::Minutes(10))));
  for (int i = kMost; i < 20; ++i) EXPECT_EQ(asked[i]->reason(), Reason::kServerBusy) << i;
  EXPECT_EQ(minter_.mints(), kMost);
  while (minter_.held() > 0) minter_.Answer(Token("t"));
  for (int i = 1; i < kMost; ++i) EXPECT_TRUE(asked[i]->ok());
}

TEST_F(BoundedRequestsTest, DeletedWhileWaitingForAPlace_NothingIsSent) {
  const auto asked = AskForEach(17, "many-");
  store_.Remove("many-16", [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  ASSERT_TRUE(minter_.Answer(Token("t")));
  EXPECT_EQ(asked[16]->reason(), Reason::kRegistrationNotFound);
  EXPECT_EQ(minter_.mints(), kMost);
}

TEST_F(BoundedRequestsTest, SuspendedWhileWaitingForAPlace_NothingIsSentAndItSaysWhy) {
  const auto asked = AskForEach(17, "many-");
  Change("many-16", [](Registration& registration) { registration.suspension.emplace(); });
  manager_->Forget("many-16");
  ASSERT_TRUE(minter_.Answer(Token("t")));
  EXPECT_EQ(asked[16]->reason(), Reason::kSuspended);
  EXPECT_EQ(minter_.mints(), kMost);
}

TEST_F(BoundedRequestsTest, StoppedWhileTheyWaitForAPlace_AllAreToldAndNothingIsSent) {
  const auto asked = AskForEach(20, "many-");
  manager_.reset();
  for (const auto& one : asked) EXPECT_FALSE(one->ok());
  while (minter_.held() > 0) minter_.Answer(Token("t"));
  EXPECT_EQ(minter_.mints(), kMost);
}

TEST_F(BoundedRequestsTest, RefusedRegistrationIsHeldBackWhileWaiting_IsTriedAgainByItself) {
  Add(MakeRegistration("refused"));
  Change("refused", [&](Registration& registration) {
    Generation& generation = registration.generations[0];
    generation.state = GenerationState::kSuspect;
    generation.refusals = 2;
    generation.first_refusal_at = generation.last_refusal_at = clock_.Now();
  });
  manager_->Recover();
  AskForEach(kMost, "many-");
  scheduler_.Advance(absl::Minutes(10));  // its time comes, and it waits for a place
  ASSERT_TRUE(minter_.Answer(
      WithRetryAfter(MakeError(Reason::kServerBusy, "status 503"), absl::Minutes(10))));
  while (minter_.held() > 0) minter_.Answer(Token("t"));
  const int sent = minter_.mints();
  scheduler_.Advance(absl::Hours(2));
  EXPECT_EQ(minter_.mints(), sent + 1);
  EXPECT_THAT(minter_.calls().back().registration_id, "refused");
}

}  // namespace
}  // namespace smartkey
