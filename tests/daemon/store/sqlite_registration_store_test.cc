// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_registration_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/contract/registration_equality.h"
#include "tests/contract/registration_samples.h"
#include "tests/daemon/store/file_size_limit.h"
#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

TEST(SqliteRegistrationStore, Remove_NothingOfItIsInAnyFile) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  const Registration sample = SampleRegistration("r1");
  ASSERT_TRUE(InsertNow(*store, sample).ok());
  const std::string blob = sample.generations[0].key.blob;
  ASSERT_TRUE(AnyFileContains(dir.path(), blob));
  ASSERT_TRUE(RemoveNow(*store, "r1").ok());
  for (const std::string& trace :
       {blob, sample.generations[1].key.blob, sample.generations[0].key_public_area,
        std::string("blob-r1"), std::string("patient-r1"), std::string("name-r1"),
        std::string("client-r1"), std::string("share-a-r1")}) {
    EXPECT_FALSE(AnyFileContains(dir.path(), trace)) << trace.size();
  }
}

TEST(SqliteRegistrationStore, Update_DroppedOrReplacedKeyIsInNoFile) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  ASSERT_TRUE(UpdateNow(*store, "r1", [](Registration& r) {
                r.generations.erase(r.generations.begin());
                return absl::OkStatus();
              }).ok());
  EXPECT_FALSE(AnyFileContains(dir.path(), "blob-r1-1"));
  EXPECT_TRUE(AnyFileContains(dir.path(), "blob-r1-4"));
  ASSERT_TRUE(UpdateNow(*store, "r1", [](Registration& r) {
                r.generations[0].key.blob.clear();
                return absl::OkStatus();
              }).ok());
  EXPECT_FALSE(AnyFileContains(dir.path(), "blob-r1-4"));
}

// Rows move between pages as others come, grow and go; no copy of a removed one may stay behind.
TEST(SqliteRegistrationStore, ManyRegistrationsComeAndGo_NoTraceOfTheRemovedOnesStays) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  constexpr int kCount = 120;
  for (int i = 0; i < kCount; ++i) {
    Registration r = SampleRegistration(absl::StrCat("reg", i, "."));
    r.generations[0].key_public_area = std::string(static_cast<size_t>(i * 37 % 900), 'p');
    ASSERT_TRUE(InsertNow(*store, r).ok());
    if (i % 3 == 0) {
      ASSERT_TRUE(UpdateNow(*store, absl::StrCat("reg", i / 4 * 2, "."), [&](Registration& old) {
                    old.label = Identifying(std::string(static_cast<size_t>(i * 13 % 700), 'l'));
                    return absl::OkStatus();
                  }).ok());
    }
    if (i % 2 == 1) {
      ASSERT_TRUE(RemoveNow(*store, absl::StrCat("reg", i, ".")).ok());
    }
  }
  std::string files;
  for (const char* file : {"smartkeyd.db", "smartkeyd.db-wal", "smartkeyd.db-shm"}) {
    files += ReadFile(dir / file);
  }
  for (int i = 0; i < kCount; ++i) {
    const bool there = files.find(absl::StrCat("blob-reg", i, ".")) != std::string::npos;
    EXPECT_EQ(there, i % 2 == 0) << i;
  }
}

TEST(SqliteRegistrationStore, ReaderInTheWayOfRemove_TracesGoWithTheNextWrite) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  {
    absl::StatusOr<SqliteConnection> reader = SqliteConnection::Open(dir / "smartkeyd.db");
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE(reader->Execute("BEGIN; SELECT count(*) FROM registrations").ok());
    EXPECT_TRUE(RemoveNow(*store, "r1").ok());
    EXPECT_TRUE(AnyFileContains(dir.path(), "blob-r1-1"));
  }
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r2")).ok());
  std::promise<void> tidied;  // the thread tidies up after the insert's `done`
  store->Ping([&] { tidied.set_value(); });
  tidied.get_future().wait();
  EXPECT_FALSE(AnyFileContains(dir.path(), "blob-r1-1"));
}

TEST(SqliteRegistrationStore, LogIsFolded_TheFileAloneHasEverything) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  ASSERT_GT(std::filesystem::file_size(dir / "smartkeyd.db-wal"), 0u);
  std::promise<void> folded;
  store->FoldLog([&] { folded.set_value(); });
  folded.get_future().wait();
  EXPECT_EQ(std::filesystem::file_size(dir / "smartkeyd.db-wal"), 0u);
  EXPECT_NE(ReadFile(dir / "smartkeyd.db").find("blob-r1-1"), std::string::npos);
  EXPECT_TRUE(InsertNow(*store, SampleRegistration("r2")).ok()) << "it goes on";
}

TEST(SqliteRegistrationStore, FileWasReplacedBeforeTheLogIsFolded_NothingIsWritten) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  const auto log_size = std::filesystem::file_size(dir / "smartkeyd.db-wal");
  std::filesystem::rename(dir / "smartkeyd.db", dir / "before");
  WriteFile(dir / "smartkeyd.db", "another");
  std::promise<void> folded;
  store->FoldLog([&] { folded.set_value(); });
  folded.get_future().wait();
  EXPECT_EQ(std::filesystem::file_size(dir / "smartkeyd.db-wal"), log_size);
  EXPECT_EQ(ReadFile(dir / "smartkeyd.db"), "another");
}

TEST(SqliteRegistrationStore, FilesAreForTheOwnerOnly) {
  const TempDir dir;
  const std::string state = dir / "state";
  const auto store = OpenStore(state).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  const auto mode_of = [](const std::string& path) -> unsigned {
    struct stat status = {};
    return stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0u;
  };
  EXPECT_EQ(mode_of(state), 0700u);
  for (const char* file : {"/smartkeyd.db", "/smartkeyd.db-wal", "/smartkeyd.db-shm", "/lock"}) {
    EXPECT_EQ(mode_of(state + file), 0600u) << file;
  }
}

TEST(SqliteRegistrationStore, DiskFull_NothingChangesAndLaterWritesRecover) {
  const TempDir dir;
  auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  {
    const FileSizeLimit full(1024);
    const absl::Status failed = InsertNow(*store, SampleRegistration("r2"));
    EXPECT_EQ(ReasonOf(failed), Reason::kStoreUnavailable) << failed;
    EXPECT_EQ(ReasonOf(UpdateNow(*store, "r1",
                                 [](Registration& r) {
                                   r.app_id = "changed";
                                   return absl::OkStatus();
                                 })
                           .status()),
              Reason::kStoreUnavailable);
    EXPECT_EQ(ReasonOf(RemoveNow(*store, "r1")), Reason::kStoreUnavailable);
    EXPECT_EQ(ReasonOf(store->health()), Reason::kStoreUnavailable);
    EXPECT_EQ(store->Find("r2"), nullptr);
    ASSERT_NE(store->Find("r1"), nullptr);
    ExpectEqual(*store->Find("r1"), SampleRegistration("r1"));
  }
  EXPECT_TRUE(InsertNow(*store, SampleRegistration("r3")).ok());
  EXPECT_TRUE(store->health().ok());
  store.reset();
  store = OpenStore(dir.path()).value();
  ASSERT_EQ(store->List().size(), 2u);
  ExpectEqual(*store->Find("r1"), SampleRegistration("r1"));
  ExpectEqual(*store->Find("r3"), SampleRegistration("r3"));
}

TEST(SqliteRegistrationStore, SecondStoreOnTheDirectory_IsRefusedUntilTheFirstEnds) {
  const TempDir dir;
  auto store = OpenStore(dir.path()).value();
  EXPECT_EQ(ReasonOf(OpenStore(dir.path()).status()), Reason::kAlreadyRunning);
  store.reset();
  EXPECT_TRUE(OpenStore(dir.path()).ok());
}

TEST(SqliteRegistrationStore, Destructor_CarriesOutWhatIsQueuedAndRefusesWhatComesLater) {
  const TempDir dir;
  auto store = OpenStore(dir.path()).value();
  int written = 0;
  absl::Status last;
  // Each write starts the next one, so that the destructor always finds one under way.
  std::function<void(absl::Status)> next = [&, raw = store.get()](absl::Status status) {
    last = status;
    if (!status.ok()) return;
    ++written;
    raw->Insert(SampleRegistration(absl::StrCat("r", written)),
                [&](absl::Status s) { next(std::move(s)); });
  };
  store->Insert(SampleRegistration("r0"), [&](absl::Status s) { next(std::move(s)); });
  store.reset();
  EXPECT_EQ(ReasonOf(last), Reason::kShuttingDown);
  EXPECT_GE(written, 1);
  EXPECT_EQ(OpenStore(dir.path()).value()->List().size(), static_cast<size_t>(written));
}

TEST(SqliteRegistrationStore, InstanceIdsOfTwoInstallationsDiffer) {
  const TempDir first, second;
  EXPECT_NE(OpenStore(first.path()).value()->instance_id(),
            OpenStore(second.path()).value()->instance_id());
}

TEST(SqliteRegistrationStore, ErrorsNameNothingIdentifying) {
  const TempDir dir;
  const auto store = OpenStore(dir.path()).value();
  ASSERT_TRUE(InsertNow(*store, SampleRegistration("r1")).ok());
  const FileSizeLimit full(1024);
  const absl::Status failed = InsertNow(*store, SampleRegistration("r2"));
  for (const char* word : {"alice", "name-r2", "patient-r2", "Mother", "Practitioner"}) {
    EXPECT_EQ(failed.ToString().find(word), std::string::npos);
  }
}

}  // namespace
}  // namespace smartkey
