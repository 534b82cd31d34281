// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/name_lookups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

TEST(NameLookups, OneCallerHasManyWaiting_OthersWaitForOneOfThem) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  NameLookups lookups(scheduler);
  std::vector<std::string> order;
  const auto look_up = [&](const Caller& caller, const std::string& what) {
    lookups.Run(caller, [&order, what] { order.push_back(what); });
  };
  for (int i = 0; i < 3; ++i) look_up(User(1001, "bob"), "bob");
  look_up(User(0, "root"), "root");
  look_up(Administrator(), "administrator");
  look_up(User(1000, "alice"), "alice");
  EXPECT_THAT(order, testing::IsEmpty());  // never inside the call
  scheduler.RunDue();
  EXPECT_THAT(order, testing::ElementsAre("bob", "root", "administrator", "alice", "bob", "bob"));
}

TEST(NameLookups, ContainerHasManyWaiting_ItsNamesakeWaitsForOneOfThem) {
  FakeClock clock;
  FakeScheduler scheduler(clock);
  NameLookups lookups(scheduler);
  Caller contained = User(1000, "alice");
  contained.in_container = true;
  std::vector<std::string> order;
  for (int i = 0; i < 3; ++i) lookups.Run(contained, [&order] { order.push_back("inside"); });
  lookups.Run(User(1000, "alice"), [&order] { order.push_back("outside"); });
  scheduler.RunDue();
  EXPECT_THAT(order, testing::ElementsAre("inside", "outside", "inside", "inside"));
}

}  // namespace
}  // namespace smartkey
