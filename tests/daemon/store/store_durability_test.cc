// SPDX-License-Identifier: Apache-2.0
// What is reported as written survives a SIGKILL. Uses child processes; this process makes no
// thread before it forks.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/store/sqlite/database_file.h"
#include "tests/contract/registration_equality.h"
#include "tests/contract/registration_samples.h"
#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

// Runs `body` in a child, which must not return from it; gives the child's pid.
pid_t Fork(const std::function<void()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(99);
  }
  return pid;
}

void ExpectKilled(pid_t pid) {
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(StoreDurability, KilledInsideDone_TheRegistrationIsThere) {
  const TempDir dir;
  ExpectKilled(Fork([&] {
    auto store = OpenStore(dir.path()).value();
    store->Insert(SampleRegistration("r1"), [](absl::Status status) {
      if (status.ok()) kill(getpid(), SIGKILL);
    });
    pause();
  }));
  const auto store = OpenStore(dir.path()).value();
  ASSERT_NE(store->Find("r1"), nullptr);
  ExpectEqual(*store->Find("r1"), SampleRegistration("r1"));
}

TEST(StoreDurability, KilledAtAnyMoment_NothingReportedIsLostAndTheDatabaseIsSound) {
  const TempDir dir;
  int expected = 0;
  for (int round = 1; round <= 12; ++round) {
    int reports[2];
    ASSERT_EQ(pipe(reports), 0);
    const pid_t pid = Fork([&] {
      auto store = OpenStore(dir.path()).value();
      if (store->Find("r1") == nullptr) {
        Registration sample = SampleRegistration("r1");
        sample.generations[0].refusals = 0;
        if (!InsertNow(*store, sample).ok()) _exit(98);
      }
      for (;;) {
        const auto updated = UpdateNow(*store, "r1", [](Registration& r) {
          ++r.generations[0].refusals;
          return absl::OkStatus();
        });
        if (!updated.ok()) _exit(97);
        const int count = (*updated)->generations[0].refusals;
        if (write(reports[1], &count, sizeof(count)) != sizeof(count)) _exit(96);
      }
    });
    close(reports[1]);
    int reported = 0;
    for (int i = 0; i < round * 3; ++i) {
      ASSERT_EQ(read(reports[0], &reported, sizeof(reported)),
                static_cast<ssize_t>(sizeof(reported)));
    }
    kill(pid, SIGKILL);
    ExpectKilled(pid);
    // What was reported between the last look and the kill counts, too.
    while (read(reports[0], &reported, sizeof(reported)) ==
           static_cast<ssize_t>(sizeof(reported))) {
    }
    close(reports[0]);
    expected = reported;

    const absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(dir.path());
    ASSERT_TRUE(directory.ok());
    absl::StatusOr<SqliteConnection> db = OpenDatabase(*directory, absl::Now());
    ASSERT_TRUE(db.ok()) << db.status();
    const int64_t found = db->QueryInt("SELECT refusals FROM generations WHERE number = 1").value();
    EXPECT_GE(found, expected);
    EXPECT_LE(found, expected + 1);  // committed, and killed before the report
  }
}

TEST(StoreDurability, AnotherProcessHoldsTheDirectory_ErrorNamesItAndItsDeathFreesIt) {
  const TempDir dir;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = Fork([&] {
    auto store = OpenStore(dir.path()).value();
    if (write(ready[1], "x", 1) != 1) _exit(98);
    pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  const absl::Status refused = OpenStore(dir.path()).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kAlreadyRunning);
  EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat("pid ", pid, ","))) << refused;
  kill(pid, SIGKILL);
  ExpectKilled(pid);
  EXPECT_TRUE(OpenStore(dir.path()).ok());
  close(ready[0]);
  close(ready[1]);
}

}  // namespace
}  // namespace smartkey
