// SPDX-License-Identifier: Apache-2.0
// `smartkeyctl store ...`: what the administrator is told about the database.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/clients/ctl/smartkeyctl_fixture.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class StoreCommandTest : public SmartkeyctlTest {
 protected:
  Outcome Store(std::vector<std::string> args) {
    args.insert(args.begin(), "store");
    return Ctl(std::move(args));
  }
  nlohmann::json StoreJson(std::vector<std::string> args) {
    args.insert(args.begin(), "store");
    return CtlJson(std::move(args));
  }
};

TEST_F(StoreCommandTest, StatusOfADatabaseInOrderShowsItsCopies) {
  const Outcome outcome = Store({"status"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("available"));
  EXPECT_THAT(outcome.out, HasSubstr("copies/smartkeyd-20261125.db  2026-11-18 "));
  EXPECT_THAT(outcome.err, IsEmpty());
  const nlohmann::json store = StoreJson({"status"})["store"];
  EXPECT_EQ(store["available"], true);
  EXPECT_EQ(store["copies"][0]["file"], "copies/smartkeyd-20261125.db");
  EXPECT_EQ(store["copies"][0]["made_at"], "2026-11-18T11:06:40Z");
  EXPECT_EQ(store["of_another_machine"], false);
  EXPECT_EQ(store["set_aside"], nlohmann::json::array());
  EXPECT_FALSE(store.contains("cause"));
}

TEST_F(StoreCommandTest, StatusOfADamagedDatabaseSaysWhatIsWrongAndWhatToDo) {
  daemon_.EditStatus([](v1::GetStatusResponse& status) {
    v1::StoreStatus& store = *status.mutable_store();
    store.set_available(false);
    store.set_problem("the database is damaged: its integrity check fails");
    store.mutable_cause()->set_reason(v1::ErrorDetail::STORE_UNAVAILABLE);
    store.mutable_cause()->set_remedy("as root: 'smartkeyctl store recover'");
    store.mutable_copies(0)->clear_made_at();
    store.add_set_aside("set-aside/20261120-070000");
  });
  const Outcome outcome = Store({"status"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("NOT AVAILABLE"));
  EXPECT_THAT(outcome.out, HasSubstr("its integrity check fails"));
  EXPECT_THAT(outcome.out, HasSubstr("smartkeyctl store recover"));
  EXPECT_THAT(outcome.out, HasSubstr("it cannot be read"));
  EXPECT_THAT(outcome.out, HasSubstr("set-aside/20261120-070000"));
  EXPECT_THAT(outcome.err, HasSubstr("still holds keys"));
  const nlohmann::json store = StoreJson({"status"})["store"];
  EXPECT_EQ(store["available"], false);
  EXPECT_EQ(store["cause"]["reason"], "STORE_UNAVAILABLE");
  EXPECT_EQ(store["problem"], "the database is damaged: its integrity check fails");
  EXPECT_FALSE(store["copies"][0].contains("made_at"));
}

TEST_F(StoreCommandTest, ADatabaseOfAnotherComputerIsExplainedAndAdopted) {
  daemon_.EditStatus(
      [](v1::GetStatusResponse& status) { status.mutable_store()->set_of_another_machine(true); });
  const Outcome outcome = Store({"status"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("written on another computer"));
  EXPECT_THAT(outcome.err, HasSubstr("KEY_LOST_OTHER_MACHINE"));
  EXPECT_THAT(outcome.err, HasSubstr("only one of the two"));
  EXPECT_THAT(outcome.err, HasSubstr("smartkeyctl store adopt"));
  EXPECT_EQ(StoreJson({"status"})["store"]["of_another_machine"], true);
  EXPECT_EQ(Store({"adopt"}).code, 0);
  EXPECT_THAT(daemon_.calls(), Contains("AdoptStore"));
}

TEST_F(StoreCommandTest, RecoverSaysWhatCameFromWhereAndAsOfWhen) {
  const Outcome outcome = Store({"recover"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("5 registrations"));
  EXPECT_THAT(outcome.out, HasSubstr("3, as they were last"));
  EXPECT_THAT(outcome.out, HasSubstr("2, as of 2026-11-18 11:06:40 UTC"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("from memory")));
  EXPECT_THAT(outcome.err, HasSubstr("Not all of the damaged file could be read"));
  EXPECT_THAT(outcome.err, HasSubstr("set-aside/20261126-070000"));
  EXPECT_THAT(outcome.err, HasSubstr("need not be restarted"));
  const nlohmann::json recovery = StoreJson({"recover"})["recovery"];
  EXPECT_EQ(recovery["from_damaged_file"], 3);
  EXPECT_EQ(recovery["from_copy"], 2);
  EXPECT_EQ(recovery["copy"]["made_at"], "2026-11-18T11:06:40Z");
  EXPECT_EQ(recovery["incomplete"], true);
  EXPECT_EQ(recovery["set_aside"], "set-aside/20261126-070000");
}

TEST_F(StoreCommandTest, NoLineIsLongerThanATerminal) {
  daemon_.EditStatus([](v1::GetStatusResponse& status) {
    v1::StoreStatus& store = *status.mutable_store();
    store.set_of_another_machine(true);
    store.add_set_aside("/var/lib/smartkeyd/set-aside/20261120-070000");
  });
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"status"}, {"recover"}, {"reset", "--yes"}, {"adopt"}}) {
    const Outcome outcome = Store(command);
    EXPECT_EQ(outcome.code, 0) << command[0];
    for (const absl::string_view line : absl::StrSplit(outcome.out + outcome.err, '\n')) {
      EXPECT_LE(line.size(), 80u) << line;
    }
  }
}

TEST_F(StoreCommandTest, RecoverFromACopyNamesIt) {
  EXPECT_EQ(StoreJson({"recover", "--from", "smartkeyd-20261101.db"})["recovery"]["copy"]["file"],
            "smartkeyd-20261101.db");
  const Outcome outcome = Store({"recover", "--from", "smartkeyd-20261101.db"});
  EXPECT_THAT(outcome.out, HasSubstr("0, as of 2026-11-18 11:06:40 UTC"));
}

TEST_F(StoreCommandTest, ResetAsksFirst) {
  const Outcome unasked = Store({"reset"});
  EXPECT_EQ(unasked.code, 2);
  EXPECT_THAT(unasked.err, HasSubstr("--yes"));
  EXPECT_THAT(unasked.err, HasSubstr("store recover"));
  EXPECT_THAT(daemon_.calls(), Not(Contains("ResetStore")));
  const Outcome outcome = Store({"reset", "--yes"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("set-aside/20261126-070000"));
  EXPECT_THAT(daemon_.calls(), Contains("ResetStore"));
  EXPECT_EQ(StoreJson({"reset", "--yes"})["set_aside"], "set-aside/20261126-070000");
}

TEST_F(StoreCommandTest, WithoutACommandOrWithAWrongOneIsUsage) {
  EXPECT_EQ(Store({}).code, 2);
  EXPECT_EQ(Store({"destroy"}).code, 2);
  EXPECT_EQ(Store({"recover", "--from"}).code, 2);
}

TEST_F(StoreCommandTest, ARefusalIsToldWithItsExitCode) {
  daemon_.FailWith(WireError(Reason::kStoreUnavailable));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"status"}, {"recover"}, {"reset", "--yes"}, {"adopt"}}) {
    const Outcome outcome = Store(command);
    EXPECT_EQ(outcome.code, 4) << command[0];
    EXPECT_THAT(outcome.err, HasSubstr("state directory")) << command[0];
  }
}

}  // namespace
}  // namespace smartkey
