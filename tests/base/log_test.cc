// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <type_traits>

#include "absl/strings/match.h"
#include "base/secret.h"

namespace smartkey {
namespace {

std::string Captured(const std::function<void()>& log) {
  testing::internal::CaptureStderr();
  log();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, MessageAndFields_AreOneLine) {
  const std::string line = Captured([] {
    Log(LogLevel::kWarning, "token request refused",
        {{"registration", "r1"}, {"status", 400}, {"why", "two words"}, {"empty", ""}});
  });
  EXPECT_TRUE(absl::StrContains(
      line, R"(token request refused registration=r1 status=400 why="two words" empty="")"))
      << line;
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Log, ControlCharactersInValues_CannotMakeAnotherLine) {
  const std::string line = Captured([] {
    Log(LogLevel::kInfo, "x", {{"error", "a\nerror forged\r\x1b[31m\xe2\x80\xa8"}});
  });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_TRUE(absl::StrContains(line, R"(a\x0aerror forged\x0d\x1b[31m\xe2\x80\xa8)")) << line;
}

TEST(Log, BelowTheLevel_IsSilent) {
  const std::string quiet = Captured([] { Log(LogLevel::kDebug, "hidden"); });
  EXPECT_EQ(quiet, "");
  SetLogLevel(LogLevel::kDebug);
  const std::string loud = Captured([] { Log(LogLevel::kDebug, "shown"); });
  SetLogLevel(LogLevel::kInfo);
  EXPECT_TRUE(absl::StrContains(loud, "shown"));
}

TEST(Log, SecretAndIdentifying_CannotBeFields) {
  static_assert(!std::is_constructible_v<LogField, absl::string_view, const Secret&>);
  static_assert(!std::is_constructible_v<LogField, absl::string_view, const Identifying&>);
  static_assert(std::is_constructible_v<LogField, absl::string_view, const std::string&>);
}

TEST(Printable, CutsToTheLimitAndSaysSo) {
  EXPECT_EQ(Printable("short"), "short");
  EXPECT_EQ(Printable("0123456789", 10), "0123456789");
  EXPECT_EQ(Printable("0123456789x", 10), "0123456...");
  EXPECT_EQ(Printable("a\tb"), "a\\x09b");
  for (size_t limit = 3; limit < 30; ++limit) {
    EXPECT_LE(Printable("ab\n\n\n\n\n\n\n\n\n", limit).size(), limit) << limit;
  }
}

}  // namespace
}  // namespace smartkey
