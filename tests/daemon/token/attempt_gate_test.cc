// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/attempt_gate.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr char kEndpoint[] = "https://ehr.example/token";

TEST(AttemptGate, EverNewScopeSetsFail_64OfTheRegistrationAreRemembered) {
  const BootTime now = BootTime() + absl::Hours(1);
  const absl::Status down = MakeError(Reason::kServerUnreachable, "down");
  AttemptGate gate;
  const auto key = [](const char* id, int i) { return TokenKey{id, 1, absl::StrCat("scope", i)}; };
  const auto fail = [&](const TokenKey& failed) {
    EXPECT_FALSE(gate.NoteFailure(failed, kEndpoint, down, now, absl::UnixEpoch()).ok());
  };
  fail(key("other", 0));
  for (int i = 0; i < 1000; ++i) fail(key("r", i));
  int held = 0;
  for (int i = 0; i < 1000; ++i) held += !gate.Check(key("r", i), kEndpoint, now).ok();
  EXPECT_EQ(held, 64);
  EXPECT_FALSE(gate.Check(key("r", 999), kEndpoint, now).ok());  // the last one is among them
  EXPECT_FALSE(gate.Check(key("other", 0), kEndpoint, now).ok());
}

}  // namespace
}  // namespace smartkey
