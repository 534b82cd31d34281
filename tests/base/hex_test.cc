// SPDX-License-Identifier: Apache-2.0
#include "base/hex.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

TEST(HexDecode, Digits_AreOctets) {
  EXPECT_EQ(HexDecode("00fF7a"), std::string("\x00\xff\x7a", 3));
  EXPECT_EQ(HexDecode(""), "");
}

TEST(HexDecode, AnythingElse_IsNone) {
  for (const char* const text : {"0", "0x", "+1", " 1", "1 ", "-1", "gg", "123"}) {
    EXPECT_EQ(HexDecode(text), absl::nullopt) << text;
  }
}

}  // namespace
}  // namespace smartkey
