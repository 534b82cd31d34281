// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/secret_heap.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <string>
#include <thread>
#include <vector>

#include "base/secret.h"

namespace smartkey {
namespace {

constexpr size_t kSize = 64 * 1024;

bool IsInHeap(const Secret& secret) {
  return CRYPTO_secure_allocated(secret.RevealSecret().data()) != 0;
}

// One process has one such heap, so the cases share it; each leaves it empty.
class SecretHeapTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    before_ = new Secret(Secret::CopyOf("made before"));
    UseSecretHeap(kSize);
  }
  ~SecretHeapTest() override { EXPECT_EQ(CRYPTO_secure_used(), 0u); }

  static Secret* before_;
};

Secret* SecretHeapTest::before_ = nullptr;

TEST_F(SecretHeapTest, SecretIsMade_ItIsInTheHeapAndLeavesItWhenItEnds) {
  {
    const Secret secret(std::string("an access token"));
    EXPECT_TRUE(IsInHeap(secret));
    const Secret copy = secret.Clone();
    EXPECT_TRUE(IsInHeap(copy));
    EXPECT_EQ(copy.RevealSecret(), "an access token");
  }
  EXPECT_EQ(CRYPTO_secure_used(), 0u);
}

TEST_F(SecretHeapTest, SecretWasMadeBefore_EndsWhereItWas) {
  EXPECT_FALSE(IsInHeap(*before_));
  EXPECT_EQ(before_->RevealSecret(), "made before");
  delete before_;
}

TEST_F(SecretHeapTest, HeapIsFull_TheNextOnesAreElsewhereAndNoneIsLost) {
  std::vector<Secret> secrets;
  const std::string value(1000, 's');
  for (size_t i = 0; i < 2 * kSize / value.size(); ++i) secrets.push_back(Secret::CopyOf(value));
  EXPECT_TRUE(IsInHeap(secrets.front()));
  EXPECT_FALSE(IsInHeap(secrets.back()));
  for (const Secret& secret : secrets) EXPECT_TRUE(Secret::Equal(secret, value));
  secrets.erase(secrets.begin());
  EXPECT_TRUE(IsInHeap(Secret::CopyOf(value))) << "there is room again";
}

TEST_F(SecretHeapTest, ManyThreadsMakeSecrets_EachHasItsOwn) {
  std::vector<std::thread> threads;
  for (char name = 'a'; name < 'e'; ++name) {
    threads.emplace_back([name] {
      for (int i = 0; i < 2000; ++i) {
        const std::string value(1 + i % 300, name);
        EXPECT_TRUE(Secret::Equal(Secret::CopyOf(value), value));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace smartkey
