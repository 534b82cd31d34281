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
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/registration_store.h"
#include "daemon/store/sqlite/schema.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/state_directory.h"
#include "daemon/store/sqlite/store_recovery.h"
#include "daemon/store/store_maintenance.h"

namespace smartkey {

// Registrations in an SQLite database in the state directory, all of them also in memory. One
// thread writes: a transaction for each call, synchronous=FULL, and only then the snapshot in
// memory is swapped. A write that fails changes neither; the next one is tried as if nothing had
// been.
//
// Whenever a key's blob goes (Remove, or an Update that drops or replaces it), the write-ahead log
// is truncated after the commit, and it is taken out of the copies, so that no file holds it any
// more: for a TPM key this is its destruction. While another program reads the database that is not
// possible; it is done as soon as it is. What was set aside keeps it.
//
// A database that cannot be read does not stop the store: it has no registrations then, takes none,
// says why (availability()), and looks again with every Maintain(). One that turns out to be
// damaged while it is used, or whose file is removed or replaced, goes on from memory, and takes no
// changes until it is recovered.
//
// The destructor carries out what is queued, calls made later get kShuttingDown.
class SqliteRegistrationStore : public RegistrationStore, public StoreMaintenance {
 public:
  struct Options {
    std::string state_dir;
    // Says which computer this is, to nobody else; empty: not known. Compared with that of the last
    // start.
    std::string machine_identity;
  };

  // Locks the state directory and reads the database in it, or makes one. `clock` must outlive the
  // store. Errors: kAlreadyRunning, and kConfigInvalid where others could have written into the
  // directory; everything else is in availability().
  static absl::StatusOr<std::unique_ptr<SqliteRegistrationStore>> Open(Options options,
                                                                       const Clock& clock);

  ~SqliteRegistrationStore() override;

  Snapshot Find(absl::string_view id) const override;
  Snapshot FindByEnrollment(absl::string_view enrollment_id) const override;
  Listing List() const override;
  std::vector<Snapshot> ListOwned(absl::string_view owner_name) const override;
  Snapshot FindOwned(uid_t owner_uid, absl::string_view owner_name,
                     absl::string_view name) const override;
  using RegistrationStore::Insert;
  void Insert(Registration registration, absl::AnyInvocable<absl::Status()> may,
              absl::AnyInvocable<void(absl::Status)> done) override;
  void Update(std::string id, absl::AnyInvocable<absl::Status(Registration&)> change,
              absl::AnyInvocable<void(absl::StatusOr<Snapshot>)> done) override;
  void Remove(std::string id, absl::AnyInvocable<void(absl::Status)> done) override;
  void Observe(Observer observer) override;
  std::string instance_id() const override;
  absl::Status availability() const override;
  absl::Status health() const override;

  StoreCondition condition() const override;
  void Recover(std::string copy,
               absl::AnyInvocable<void(absl::StatusOr<StoreRecovery>)> done) override;
  void Reset(absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override;
  void Adopt(absl::AnyInvocable<void(absl::Status)> done) override;
  void Maintain(absl::AnyInvocable<void()> done) override;

  // `taken_up` runs on the store's thread whenever there are registrations that were not there
  // before: the database could be read at last, or was recovered. Set once, before the first
  // Maintain().
  void OnTakenUp(absl::AnyInvocable<void()> taken_up);

  // Runs `done` on the store's thread, after what is queued: whoever feeds a watchdog learns that
  // the thread lives. Dropped when the store is ending.
  void Ping(absl::AnyInvocable<void()> done);

  // For a clean stop: after what is queued, moves the log into the database's file, and runs `done`
  // on the store's thread. Then the log is empty, and would not be read into another file that
  // somebody puts in the place of the database. Where it cannot be moved it stays as it is, which
  // loses nothing. Dropped when the store is ending.
  void FoldLog(absl::AnyInvocable<void()> done);

 private:
  // Called with OK when it is its turn, or with the reason why that will never be.
  using Task = absl::AnyInvocable<void(absl::Status)>;

  SqliteRegistrationStore(Options options, const Clock& clock);

  void Enqueue(Task task);
  void Run();
  bool NextTask(Task& task);

  // All on the store's thread, or before it runs.
  absl::Status TryOpen();
  absl::StatusOr<std::vector<Registration>> Read();
  std::string FindInstance() const;
  void TakeUp(std::vector<Registration> contents);
  absl::Status CheckWritable();
  void OpenForWriting();
  void CheckMachine(const DatabaseMeta& meta);

  absl::Status DoInsert(Registration registration);
  absl::StatusOr<Snapshot> DoUpdate(const std::string& id,
                                    absl::AnyInvocable<absl::Status(Registration&)> change);
  absl::Status DoRemove(const std::string& id);
  absl::Status CheckInPlace();
  absl::Status NamingTheFile(absl::Status status) const;
  absl::Status Write(bool to_purge, absl::FunctionRef<absl::Status(SqliteConnection&)> rows);
  void NoteChange(const std::string& id);
  void WarnOfSetAside() const;
  void ForgetDeleted();
  absl::Status PurgeCopiesNow();
  void SetHealth(const absl::Status& health);
  bool damaged() const;

  void DoMaintain();
  void TryWriting();
  void CopyIfDue();
  void NoteFiles();
  void NoteSetAside();
  absl::StatusOr<StoreRecovery> DoRecover(const std::string& copy);
  absl::Status CheckRecoverable(const std::string& copy) const;
  absl::StatusOr<RecoveredContents> ContentsFor(const std::string& copy) const;
  absl::StatusOr<std::string> DoReset();
  absl::StatusOr<std::string> Replace(const RecoveredContents& contents);
  absl::Status DoAdopt();

  const Options options_;
  const Clock& clock_;

  // Used by the store's thread alone. Absent while the directory cannot be locked, and while the
  // database cannot be used.
  absl::optional<StateDirectory> directory_;
  absl::optional<SqliteConnection> db_;
  bool read_ = false;             // the registrations are in memory
  std::string machine_identity_;  // as the database has it
  bool old_pages_left_ = false;   // something deleted may still be read in the log
  BootTime copy_again_at_;        // after a copy that failed
  bool copies_to_purge_ = false;  // or in copies
  absl::AnyInvocable<void()> taken_up_;

  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mu_);
  RegistrationIndex index_ ABSL_GUARDED_BY(mu_);
  Observer observer_ ABSL_GUARDED_BY(mu_);
  std::string instance_id_ ABSL_GUARDED_BY(mu_);
  absl::Status availability_ ABSL_GUARDED_BY(mu_);
  // Of the last write; stays as it is once it says that the database is damaged.
  absl::Status health_ ABSL_GUARDED_BY(mu_);
  StoreCondition condition_ ABSL_GUARDED_BY(mu_);  // without health

  std::thread thread_;
};

// "SQLite 3.40.1": what this process runs with.
std::string StoreLibraryVersion();

}  // namespace smartkey
