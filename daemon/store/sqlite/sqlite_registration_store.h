// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/registration_store.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/state_directory.h"

namespace smartkey {

// Registrations in an SQLite database in the state directory, all of them also in memory. One
// thread writes: a transaction for each call, synchronous=FULL, and only then the snapshot in
// memory is swapped. A write that fails changes neither; the next one is tried as if nothing had
// been.
//
// Whenever a key's blob goes (Remove, or an Update that drops or replaces it), the write-ahead log
// is truncated after the commit, so that no file holds it any more: for a TPM key this is its
// destruction. While another program reads the database that is not possible; it is done as soon as
// it is.
//
// The destructor carries out what is queued, calls made later get kShuttingDown.
class SqliteRegistrationStore : public RegistrationStore {
 public:
  // Locks `state_dir` and reads the database in it, or makes one. Errors: as StateDirectory::Lock
  // and OpenDatabase: kAlreadyRunning, kStoreUnavailable, kStoreTooNew.
  static absl::StatusOr<std::unique_ptr<SqliteRegistrationStore>> Open(
      const std::string& state_dir);

  ~SqliteRegistrationStore() override;

  Snapshot Find(absl::string_view id) const override;
  Snapshot FindByEnrollment(absl::string_view enrollment_id) const override;
  std::vector<Snapshot> List() const override;
  void Insert(Registration registration, absl::AnyInvocable<void(absl::Status)> done) override;
  void Update(std::string id, absl::AnyInvocable<absl::Status(Registration&)> change,
              absl::AnyInvocable<void(absl::StatusOr<Snapshot>)> done) override;
  void Remove(std::string id, absl::AnyInvocable<void(absl::Status)> done) override;
  void Observe(Observer observer) override;
  const std::string& instance_id() const override { return instance_id_; }
  absl::Status health() const override;

  // Runs `done` on the store's thread, after what is queued: whoever feeds a watchdog learns that
  // the thread lives. Dropped when the store is ending.
  void Ping(absl::AnyInvocable<void()> done);

 private:
  // Called with OK when it is its turn, or with the reason why that will never be.
  using Task = absl::AnyInvocable<void(absl::Status)>;

  SqliteRegistrationStore(StateDirectory directory, SqliteConnection db, std::string instance_id,
                          std::vector<Registration> contents);

  void Enqueue(Task task);
  void Run();
  bool NextTask(Task& task);

  // On the store's thread.
  absl::Status DoInsert(Registration registration);
  absl::StatusOr<Snapshot> DoUpdate(const std::string& id,
                                    absl::AnyInvocable<absl::Status(Registration&)> change);
  absl::Status DoRemove(const std::string& id);
  absl::Status Write(absl::FunctionRef<absl::Status(SqliteConnection&)> rows);
  void NoteChange(const std::string& id);
  void ForgetOldPages();
  void SetHealth(const absl::Status& health);

  const StateDirectory directory_;
  const std::string instance_id_;

  // Used by the store's thread alone.
  SqliteConnection db_;
  bool old_pages_left_ = false;  // something deleted may still be read in the log

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mu_);
  RegistrationIndex index_ ABSL_GUARDED_BY(mu_);
  Observer observer_ ABSL_GUARDED_BY(mu_);
  absl::Status health_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace smartkey
