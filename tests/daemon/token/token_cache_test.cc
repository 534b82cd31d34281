// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_cache.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

const BootTime kNow = BootTime::FromSinceBoot(absl::Hours(1));

std::shared_ptr<const AccessToken> Token(std::string value, absl::Duration left) {
  auto token = std::make_shared<AccessToken>();
  token->value = Secret(std::move(value));
  token->expires = kNow + left;
  return token;
}

std::string Value(const std::shared_ptr<const AccessToken>& token) {
  return token == nullptr ? "none" : std::string(token->value.RevealSecret());
}

TEST(TokenCache, TokenThatHasExpired_IsNotFound) {
  TokenCache cache;
  cache.Put({"r1", 1, ""}, Token("a", absl::Seconds(10)));
  EXPECT_EQ(Value(cache.Find({"r1", 1, ""}, kNow + absl::Milliseconds(9999))), "a");
  EXPECT_EQ(Value(cache.Find({"r1", 1, ""}, kNow + absl::Seconds(10))), "none");
}

TEST(TokenCache, KeyDiffersInAnyPart_IsAnotherToken) {
  TokenCache cache;
  cache.Put({"r1", 1, "a"}, Token("t", absl::Hours(1)));
  EXPECT_EQ(Value(cache.Find({"r2", 1, "a"}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r1", 2, "a"}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r1", 1, ""}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r1", 1, "a"}, kNow)), "t");
}

TEST(TokenCache, SecondTokenForAKey_ReplacesTheFirst) {
  TokenCache cache;
  cache.Put({"r1", 1, ""}, Token("old", absl::Hours(1)));
  std::shared_ptr<const AccessToken> held = cache.Find({"r1", 1, ""}, kNow);
  cache.Put({"r1", 1, ""}, Token("new", absl::Hours(1)));
  EXPECT_EQ(Value(cache.Find({"r1", 1, ""}, kNow)), "new");
  EXPECT_EQ(Value(held), "old");  // still whole for whoever holds it
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(cache.size(), 1);
}

TEST(TokenCache, RegistrationErased_LosesAllItsTokensAndNoOthers) {
  TokenCache cache;
  for (const char* id : {"r1", "r2", "r22", "r3"}) {
    for (const int generation : {1, 2}) {
      cache.Put({id, generation, ""}, Token("t", absl::Hours(1)));
      cache.Put({id, generation, "zz"}, Token("t", absl::Hours(1)));
    }
  }
  cache.EraseRegistration("r2");
  EXPECT_EQ(cache.size(), 12);
  EXPECT_EQ(Value(cache.Find({"r2", 2, "zz"}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r22", 1, ""}, kNow)), "t");
}

TEST(TokenCache, GenerationErased_LosesItsScopesAndKeepsTheOtherGeneration) {
  TokenCache cache;
  for (const int generation : {1, 2, 3}) {
    cache.Put({"r1", generation, ""}, Token("t", absl::Hours(1)));
    cache.Put({"r1", generation, "a b"}, Token("t", absl::Hours(1)));
  }
  cache.EraseGeneration("r1", 2);
  EXPECT_EQ(cache.size(), 4);
  EXPECT_EQ(Value(cache.Find({"r1", 2, "a b"}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r1", 3, "a b"}, kNow)), "t");
}

TEST(TokenCache, ExpiredErased_FreesWhatIsOfNoUse) {
  TokenCache cache;
  std::shared_ptr<const AccessToken> expired = Token("a", absl::Seconds(10));
  cache.Put({"r1", 1, ""}, expired);
  cache.Put({"r2", 1, ""}, Token("b", absl::Hours(1)));
  cache.EraseExpired(kNow + absl::Minutes(1));
  EXPECT_EQ(cache.size(), 1);
  EXPECT_EQ(expired.use_count(), 1);
}

TEST(TokenCache, TooManyTokensOfOneRegistration_PushOutItsOwnOnly) {
  TokenCache cache;
  cache.Put({"other", 1, ""}, Token("o", absl::Seconds(1)));
  for (int i = 0; i < 65; ++i) {
    cache.Put({"r", 1, absl::StrCat("scope", i)}, Token("t", absl::Seconds(i == 7 ? 5 : 100 + i)));
  }
  EXPECT_EQ(cache.size(), 65);
  EXPECT_EQ(Value(cache.Find({"r", 1, "scope7"}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"r", 1, "scope64"}, kNow)), "t");
  EXPECT_EQ(Value(cache.Find({"other", 1, ""}, kNow)), "o");
}

TEST(TokenCache, TooManyTokensOfOneCaller_PushOutHisOwnAndNotTheOwners) {
  TokenCache cache;
  constexpr KeyService::CallerKey kOwner = 1000, kGrantee = 1001;
  cache.Put({"r", 1, ""}, Token("owner's", absl::Seconds(1)), kOwner);
  for (int i = 0; i < 200; ++i) {
    cache.Put({"r", 1, absl::StrCat("scope", i)}, Token("t", absl::Seconds(100 + i)), kGrantee);
  }
  EXPECT_EQ(cache.size(), 64);
  EXPECT_EQ(Value(cache.Find({"r", 1, ""}, kNow)), "owner's");
  // Nor does a refresh, which nobody asked for, make it somebody else's.
  cache.Put({"r", 1, ""}, Token("owner's new", absl::Seconds(1)));
  cache.Put({"r", 1, "a"}, Token("t", absl::Hours(1)), kGrantee);
  EXPECT_EQ(Value(cache.Find({"r", 1, ""}, kNow)), "owner's new");
  // Who comes anew takes the place of the one who has the most.
  cache.Put({"r", 1, "b"}, Token("t", absl::Hours(1)), 1002);
  EXPECT_EQ(cache.size(), 64);
  EXPECT_EQ(Value(cache.Find({"r", 1, ""}, kNow)), "owner's new");
}

TEST(TokenCache, TooManyTokens_DropsTheOneThatExpiresFirst) {
  TokenCache cache;
  for (int i = 0; i < 10'000; ++i) {
    cache.Put({absl::StrCat("r", i), 1, ""}, Token("t", absl::Seconds(i == 777 ? 5 : 1000 + i)));
  }
  cache.Put({"one more", 1, ""}, Token("t", absl::Hours(1)));
  EXPECT_EQ(cache.size(), 10'000);
  EXPECT_EQ(Value(cache.Find({"r777", 1, ""}, kNow)), "none");
  EXPECT_EQ(Value(cache.Find({"one more", 1, ""}, kNow)), "t");
  // Replacing needs no room.
  cache.Put({"r5", 1, ""}, Token("again", absl::Hours(1)));
  EXPECT_EQ(cache.size(), 10'000);
  EXPECT_EQ(Value(cache.Find({"r0", 1, ""}, kNow)), "t");
}

}  // namespace
}  // namespace smartkey
