// SPDX-License-Identifier: Apache-2.0
#include "base/base64url.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"

namespace smartkey {
namespace {

TEST(Base64Url, ExampleOfRfc7515AppendixC) {
  const std::string bytes = "\x03\xec\xff\xe0\xc1";
  EXPECT_EQ(Base64UrlEncode(bytes), "A-z_4ME");
  EXPECT_EQ(Base64UrlDecode("A-z_4ME").value(), bytes);
}

TEST(Base64Url, EveryByteAndLength_ComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<char>(i));
    const std::string text = Base64UrlEncode(bytes);
    EXPECT_EQ(text.find_first_of("+/="), std::string::npos);
    EXPECT_EQ(Base64UrlDecode(text).value(), bytes);
  }
  EXPECT_EQ(Base64UrlDecode("").value(), "");
}

TEST(Base64Url, WhatIsNotCanonical_IsRefusedWithoutBeingQuoted) {
  for (const char* text :
       {"A-z_4ME=", "A-z_4M E", "A-z_4ME\n", "A+z/4ME", "A-z_4MF", "A", "A-z_4"}) {
    const absl::Status status = Base64UrlDecode(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_FALSE(absl::StrContains(status.message(), "A-z")) << status;
  }
}

}  // namespace
}  // namespace smartkey
