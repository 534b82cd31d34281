// SPDX-License-Identifier: Apache-2.0
// What changes the database's files is killed before each of the system calls with which it does
// so: whichever it was, the next start finds the old state or the new one.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/store/sqlite/daily_copies.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/database_reader.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/sqlite_status.h"
#include "daemon/store/sqlite/store_recovery.h"
#include "tests/contract/registration_equality.h"
#include "tests/contract/registration_samples.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15 08:00 UTC

// Those that change a file or make a change durable.
constexpr long kChanges[] = {
    SYS_write,     SYS_pwrite64, SYS_ftruncate, SYS_fsync,   SYS_fdatasync,
    SYS_renameat2, SYS_linkat,   SYS_unlinkat,  SYS_mkdirat,
#if defined(SYS_renameat)
    SYS_renameat,
#endif
#if defined(SYS_unlink)
    SYS_unlink,
#endif
};

// Runs `body` in a process of one thread, and kills it before its change number `count`, from 1.
// False if it ended before.
bool KilledBefore(int count, const std::function<void()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  int changes = 0;
  for (;;) {
    ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr);
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
      return false;
    }
    __ptrace_syscall_info info = {};
    ptrace(PTRACE_GET_SYSCALL_INFO, pid, reinterpret_cast<void*>(sizeof(info)), &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    const long call = static_cast<long>(info.entry.nr);
    if (std::find(std::begin(kChanges), std::end(kChanges), call) == std::end(kChanges)) continue;
    if (++changes < count) continue;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return true;
  }
}

// Does `body` on a copy of `before` for each of its changes, and lets `check` look at what is left.
// Gives how many there were.
int KillAtEveryChange(const TempDir& before, const std::function<void(const std::string&)>& body,
                      const std::function<void(const std::string&)>& check) {
  for (int count = 1;; ++count) {
    const TempDir state;
    std::filesystem::copy(before.path(), state.path(), std::filesystem::copy_options::recursive);
    const bool killed = KilledBefore(count, [&] { body(state.path()); });
    check(state.path());
    if (!killed || testing::Test::HasFailure()) return count - 1;
  }
}

std::vector<Registration> ReadState(const std::string& state) {
  const StateDirectory directory = StateDirectory::Lock(state).value();
  absl::StatusOr<SqliteConnection> db = OpenDatabase(directory, kNow);
  EXPECT_TRUE(db.ok()) << db.status();
  return db.ok() ? ReadRegistrations(*db).value() : std::vector<Registration>();
}

// Two registrations and a copy with both.
void MakeState(const std::string& state) {
  const StateDirectory directory = StateDirectory::Lock(state).value();
  SqliteConnection db = OpenDatabase(directory, kNow).value();
  for (const char* id : {"r1", "r2"}) {
    ASSERT_TRUE(WriteRegistration(db, SampleRegistration(id)).ok());
  }
  ASSERT_TRUE(MakeCopy(directory, kDatabaseFile, db, kNow).ok());
}

TEST(StoreKill, DuringARecovery_TheDamagedOneOrTheRecoveredOneIsThere) {
  const TempDir before;
  MakeState(before.path());
  std::string damaged = ReadFile(before / kDatabaseFile);
  damaged.replace(0, 100, std::string(100, 'x'));
  WriteFile(before / kDatabaseFile, damaged);
  WriteFile(before / "smartkeyd.db-wal", "the log of the damaged one");
  int old = 0, recovered = 0;
  const int changes = KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        const RecoveredContents contents = GatherContents(directory).value();
        if (!ReplaceDatabase(directory, contents.registrations, contents.meta,
                             kNow + absl::Seconds(1))
                 .ok()) {
          _exit(1);
        }
      },
      [&](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        absl::StatusOr<SqliteConnection> db = OpenDatabase(directory, kNow);
        if (!db.ok()) {
          ++old;
          EXPECT_TRUE(SaysDamaged(db.status())) << db.status();
          EXPECT_TRUE(ReadFile(state + "/smartkeyd.db") == damaged);
          EXPECT_EQ(ReadFile(state + "/smartkeyd.db-wal"), "the log of the damaged one");
          // And it can still be recovered.
          EXPECT_EQ(GatherContents(directory).value().registrations.size(), 2u);
          return;
        }
        ++recovered;
        const std::vector<Registration> found = ReadRegistrations(*db).value();
        ASSERT_EQ(found.size(), 2u);
        ExpectEqual(found[0], SampleRegistration("r1"));
        ExpectEqual(found[1], SampleRegistration("r2"));
        const std::string aside = state + "/set-aside/20270115-080001/";
        EXPECT_TRUE(ReadFile(aside + "smartkeyd.db") == damaged);
        EXPECT_EQ(ReadFile(aside + "smartkeyd.db-wal"), "the log of the damaged one");
        EXPECT_FALSE(ReadFile(aside + "smartkeyd-20270115.db").empty());
      });
  EXPECT_GT(changes, 20);
  EXPECT_GT(old, 10);
  EXPECT_GT(recovered, 3);
}

TEST(StoreKill, DuringAReset_TheDamagedOneOrTheEmptyOneIsThereAndTheOldFilesAreKept) {
  const TempDir before;
  MakeState(before.path());
  WriteFile(before / kDatabaseFile, "damaged");
  const std::string copy = ReadFile(before / "copies/smartkeyd-20270115.db");
  int old = 0, empty = 0;
  KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        if (!ReplaceDatabase(directory, {}, {}, kNow + absl::Seconds(1)).ok()) {
          _exit(1);
        }
      },
      [&](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        absl::StatusOr<SqliteConnection> db = OpenDatabase(directory, kNow);
        if (!db.ok()) {
          ++old;
          EXPECT_TRUE(SaysDamaged(db.status())) << db.status();
          EXPECT_EQ(ReadFile(state + "/smartkeyd.db"), "damaged");
          EXPECT_TRUE(ReadFile(state + "/copies/smartkeyd-20270115.db") == copy);
          return;
        }
        ++empty;
        EXPECT_TRUE(ReadRegistrations(*db).value().empty());
        const std::string aside = state + "/set-aside/20270115-080001/";
        EXPECT_EQ(ReadFile(aside + "smartkeyd.db"), "damaged");
        EXPECT_TRUE(ReadFile(aside + "smartkeyd-20270115.db") == copy);
      });
  EXPECT_GT(old, 10);
  EXPECT_GT(empty, 3);
}

// A copy of before the upgrade: either it is not there, or 0.1.0 could go on with it.
void ExpectWholeOf010(const StateDirectory& directory, const std::string& file) {
  absl::StatusOr<SqliteConnection> db = SqliteConnection::Open(directory.PathOf(file));
  ASSERT_TRUE(db.ok()) << db.status();
  EXPECT_EQ(db->QueryText("PRAGMA integrity_check").value(), "ok");
  EXPECT_EQ(db->QueryInt("SELECT schema_version FROM meta").value(), 1);
  EXPECT_EQ(ReadContents(directory, file).value().registrations.size(), 2u);
}

TEST(StoreKill, DuringAMigration_NothingIsLostAndNoCopyOfBeforeIsHalfMade) {
  const TempDir before;
  std::filesystem::copy_file(SMARTKEY_FIXTURES "/0.1.0/daemon/state/smartkeyd.db",
                             before / kDatabaseFile);
  int migrated = 0;
  const int changes = KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        if (!OpenDatabase(directory, kNow).ok()) _exit(1);
      },
      [&](const std::string& state) {
        {
          const StateDirectory directory = StateDirectory::Lock(state).value();
          const std::vector<std::string> kept = ListCopyFiles(directory);
          for (const std::string& file : kept) ExpectWholeOf010(directory, file);
          absl::StatusOr<SqliteConnection> db =
              SqliteConnection::Open(directory.PathOf(kDatabaseFile));
          const absl::StatusOr<int> version = ReadVersion(*db);
          if (version.value() != 1) {
            ++migrated;
            EXPECT_EQ(kept.size(), 1u);
          }
        }
        const std::vector<Registration> found = ReadState(state);
        EXPECT_EQ(found.size(), 2u);
        for (const Registration& one : found) EXPECT_FALSE(one.newest().key.blob.empty());
        const StateDirectory directory = StateDirectory::Lock(state).value();
        const std::vector<std::string> kept = ListCopyFiles(directory);
        ASSERT_EQ(kept.size(), 1u);
        ExpectWholeOf010(directory, kept[0]);
        EXPECT_EQ(FilesIn(state + "/copies").size(), 1u);  // no leftovers
      });
  EXPECT_GT(migrated, 0);
  EXPECT_GT(changes, 20);
}

TEST(StoreKill, DuringTheFirstStart_TheNextOneSucceeds) {
  const TempDir before;
  const int changes = KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        if (!OpenDatabase(directory, kNow).ok()) _exit(1);
      },
      [](const std::string& state) { EXPECT_TRUE(ReadState(state).empty()); });
  EXPECT_GT(changes, 10);
}

TEST(StoreKill, DuringTheCopyOfTheDay_NoCopyIsHalfMadeAndTheOldOnesAreThere) {
  const TempDir before;
  MakeState(before.path());
  int made = 0;
  const int changes = KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        SqliteConnection db = OpenDatabase(directory, kNow).value();
        const absl::Time next_day = kNow + absl::Hours(24);
        if (!MakeCopy(directory, kDatabaseFile, db, next_day).ok()) _exit(1);
      },
      [&](const std::string& state) {
        EXPECT_EQ(ReadState(state).size(), 2u);
        const StateDirectory directory = StateDirectory::Lock(state).value();
        const std::vector<std::string> copies = ListCopyFiles(directory);
        ASSERT_GE(copies.size(), 1u);
        if (copies.size() == 2) ++made;
        for (const std::string& copy : copies) {
          EXPECT_EQ(ReadContents(directory, copy).value().registrations.size(), 2u) << copy;
        }
        EXPECT_EQ(FilesIn(state + "/copies").size(), copies.size());  // no leftovers
      });
  EXPECT_GT(changes, 10);
  EXPECT_GT(made, 0);
}

// A purge works on a copy where it lies: what a kill leaves of it, its journal takes back.
TEST(StoreKill, DuringAPurge_TheCopyIsTheOldOrTheNewOne) {
  const TempDir before;
  MakeState(before.path());
  int purged = 0;
  const int changes = KillAtEveryChange(
      before,
      [](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        const auto r2 = std::make_shared<const Registration>(SampleRegistration("r2"));
        const absl::Status status =
            PurgeCopies(directory, [&](absl::string_view id) { return id == "r2" ? r2 : nullptr; });
        if (!status.ok()) _exit(1);
      },
      [&](const std::string& state) {
        const StateDirectory directory = StateDirectory::Lock(state).value();
        const auto contents = ReadContents(directory, "copies/smartkeyd-20270115.db");
        ASSERT_TRUE(contents.ok()) << contents.status();
        if (contents->registrations.size() == 1) {
          ++purged;
          ExpectEqual(contents->registrations[0], SampleRegistration("r2"));
        } else {
          EXPECT_EQ(contents->registrations.size(), 2u);
        }
      });
  EXPECT_GT(changes, 5);
  EXPECT_GT(purged, 0);
}

}  // namespace
}  // namespace smartkey
