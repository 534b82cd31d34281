// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/sqlite_registration_store.h"
#include "tests/contract/registration_equality.h"
#include "tests/contract/registration_samples.h"
#include "tests/daemon/store/temp_dir.h"
#include "tests/fakes/fake_clock.h"

namespace smartkey {

// A state directory whose store is stopped, damaged and started again. The clock stands at
// 2027-01-15 08:00 UTC until it is moved.
class StoreFixture : public testing::Test {
 protected:
  void Start(const std::string& machine_identity = "") {
    store_.reset();
    store_ = SqliteRegistrationStore::Open({dir_.path(), machine_identity}, clock_).value();
  }
  void Stop() { store_.reset(); }

  SqliteRegistrationStore& store() { return *store_; }
  absl::Status Insert(const std::string& id) { return InsertNow(store(), SampleRegistration(id)); }

  void Maintain() {
    std::promise<void> done;
    store().Maintain([&] { done.set_value(); });
    done.get_future().wait();
  }
  absl::StatusOr<StoreRecovery> Recover(const std::string& copy = "") {
    std::promise<absl::StatusOr<StoreRecovery>> done;
    store().Recover(copy, [&](absl::StatusOr<StoreRecovery> r) { done.set_value(std::move(r)); });
    return done.get_future().get();
  }
  absl::StatusOr<std::string> Reset() {
    std::promise<absl::StatusOr<std::string>> done;
    store().Reset([&](absl::StatusOr<std::string> r) { done.set_value(std::move(r)); });
    return done.get_future().get();
  }
  absl::Status Adopt() {
    std::promise<absl::Status> done;
    store().Adopt([&](absl::Status s) { done.set_value(std::move(s)); });
    return done.get_future().get();
  }

  // A registration of SampleRegistration(id) is there, whole.
  void ExpectThere(const std::string& id) {
    ASSERT_NE(store().Find(id), nullptr) << id;
    ExpectEqual(*store().Find(id), SampleRegistration(id));
  }

  using Names = std::vector<std::string>;
  Names Copies() { return FilesIn(dir_ / "copies"); }
  absl::StatusOr<SqliteConnection> OpenCopy(const std::string& name) {
    return SqliteConnection::Open(dir_ / ("copies/" + name));
  }

  void OverwriteHeader() {
    std::string bytes = ReadFile(database_);
    bytes.replace(0, 100, std::string(100, 'x'));
    WriteFile(database_, bytes);
  }
  // Numbers count from 1.
  void OverwritePage(int64_t page) {
    std::string bytes = ReadFile(database_);
    bytes.replace(static_cast<size_t>((page - 1) * 4096), 4096, std::string(4096, '\x7f'));
    WriteFile(database_, bytes);
  }
  int64_t RootPageOf(const std::string& name) {
    return SqliteConnection::Open(database_)
        ->QueryInt("SELECT rootpage FROM sqlite_schema WHERE name = '" + name + "'")
        .value();
  }

  FakeClock clock_;
  const TempDir dir_;
  const std::string database_ = dir_ / kDatabaseFile;
  std::unique_ptr<SqliteRegistrationStore> store_;
};

}  // namespace smartkey
