// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_registration_store.h"

#include <pthread.h>
#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/store/sqlite/daily_copies.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

absl::Status Closing() {
  return MakeError(Reason::kShuttingDown, "the store is closing");
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteRegistrationStore>> SqliteRegistrationStore::Open(
    Options options, const Clock& clock) {
  std::unique_ptr<SqliteRegistrationStore> store(
      new SqliteRegistrationStore(std::move(options), clock));
  const absl::Status opened = store->TryOpen();
  if (ReasonOf(opened) == Reason::kAlreadyRunning || ReasonOf(opened) == Reason::kConfigInvalid) {
    return opened;
  }
  store->thread_ = std::thread([raw = store.get()] { raw->Run(); });
  return store;
}

SqliteRegistrationStore::SqliteRegistrationStore(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

SqliteRegistrationStore::~SqliteRegistrationStore() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

RegistrationStore::Snapshot SqliteRegistrationStore::Find(absl::string_view id) const {
  MutexLock lock(mu_);
  return index_.Find(id);
}

RegistrationStore::Snapshot SqliteRegistrationStore::FindByEnrollment(
    absl::string_view enrollment_id) const {
  MutexLock lock(mu_);
  return index_.FindByEnrollment(enrollment_id);
}

RegistrationStore::Listing SqliteRegistrationStore::List() const {
  MutexLock lock(mu_);
  return index_.List();
}

std::vector<RegistrationStore::Snapshot> SqliteRegistrationStore::ListOwned(
    absl::string_view owner_name) const {
  MutexLock lock(mu_);
  return index_.ListOwned(owner_name);
}

RegistrationStore::Snapshot SqliteRegistrationStore::FindOwned(uid_t owner_uid,
                                                               absl::string_view owner_name,
                                                               absl::string_view name) const {
  MutexLock lock(mu_);
  return index_.FindOwned(owner_uid, owner_name, name);
}

void SqliteRegistrationStore::Observe(Observer observer) {
  MutexLock lock(mu_);
  observer_ = std::move(observer);
}

std::string SqliteRegistrationStore::instance_id() const {
  MutexLock lock(mu_);
  return instance_id_;
}

absl::Status SqliteRegistrationStore::availability() const {
  MutexLock lock(mu_);
  return availability_;
}

absl::Status SqliteRegistrationStore::health() const {
  MutexLock lock(mu_);
  return availability_.ok() ? health_ : availability_;
}

void SqliteRegistrationStore::Insert(Registration registration,
                                     absl::AnyInvocable<absl::Status()> may,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, registration = std::move(registration), may = std::move(may),
           done = std::move(done)](absl::Status turn) mutable {
    if (turn.ok() && may) turn = may();
    done(turn.ok() ? DoInsert(std::move(registration)) : turn);
  });
}

void SqliteRegistrationStore::Update(std::string id,
                                     absl::AnyInvocable<absl::Status(Registration&)> change,
                                     absl::AnyInvocable<void(absl::StatusOr<Snapshot>)> done) {
  Enqueue([this, id = std::move(id), change = std::move(change),
           done = std::move(done)](absl::Status turn) mutable {
    if (!turn.ok()) return done(turn);
    done(DoUpdate(id, std::move(change)));
  });
}

void SqliteRegistrationStore::Remove(std::string id, absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, id = std::move(id), done = std::move(done)](absl::Status turn) mutable {
    done(turn.ok() ? DoRemove(id) : turn);
  });
}

void SqliteRegistrationStore::Ping(absl::AnyInvocable<void()> done) {
  Enqueue([done = std::move(done)](absl::Status turn) mutable {
    if (turn.ok()) done();
  });
}

void SqliteRegistrationStore::FoldLog(absl::AnyInvocable<void()> done) {
  Enqueue([this, done = std::move(done)](absl::Status turn) mutable {
    if (!turn.ok()) return;
    // What is damaged or was replaced is left byte for byte as it is.
    if (db_.has_value() && health().ok() && CheckInPlace().ok()) {
      if (const absl::Status folded = db_->TruncateLog(); !folded.ok()) {
        Log(LogLevel::kInfo, "the database's log stays beside it", {{"error", folded.message()}});
      }
    }
    done();
  });
}

void SqliteRegistrationStore::Enqueue(Task task) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.push_back(std::move(task));
      changed_.NotifyOne();
      return;
    }
  }
  task(Closing());
}

void SqliteRegistrationStore::Run() {
  pthread_setname_np(pthread_self(), "store");
  for (Task task; NextTask(task);) {
    task(absl::OkStatus());
    if (old_pages_left_) ForgetDeleted();
  }
}

// False when there is nothing to do and there never will be.
bool SqliteRegistrationStore::NextTask(Task& task) {
  MutexLock lock(mu_);
  while (queue_.empty()) {
    if (stopping_) return false;
    changed_.Wait(mu_);
  }
  task = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

absl::Status SqliteRegistrationStore::DoInsert(Registration registration) {
  CutTimesToMilliseconds(registration);
  {
    MutexLock lock(mu_);
    if (!availability_.ok()) return availability_;
    if (absl::Status status = index_.CheckInsert(registration); !status.ok()) return status;
  }
  absl::Status status =
      Write(false, [&](SqliteConnection& db) { return WriteRegistration(db, registration); });
  if (!status.ok()) return status;
  const std::string id = registration.id;
  {
    MutexLock lock(mu_);
    index_.Put(std::make_shared<const Registration>(std::move(registration)));
  }
  NoteChange(id);
  return absl::OkStatus();
}

absl::StatusOr<RegistrationStore::Snapshot> SqliteRegistrationStore::DoUpdate(
    const std::string& id, absl::AnyInvocable<absl::Status(Registration&)> change) {
  if (absl::Status status = availability(); !status.ok()) return status;
  const Snapshot before = Find(id);
  if (before == nullptr) return RegistrationNotFound();
  Registration registration = *before;
  if (absl::Status status = change(registration); !status.ok()) return status;
  if (registration.id != id) {
    return MakeError(Reason::kInternal, "an update may not change a registration's id");
  }
  CutTimesToMilliseconds(registration);
  {
    MutexLock lock(mu_);
    if (absl::Status status = index_.CheckUpdate(registration); !status.ok()) return status;
  }
  const bool loses_keys = LosesAKey(*before, registration);
  // Rights can wait for the next maintenance: it takes all of them out at once where an
  // administrator suspends everything.
  const bool to_purge = loses_keys || LosesARight(*before, registration);
  absl::Status status =
      Write(to_purge, [&](SqliteConnection& db) { return WriteRegistration(db, registration); });
  if (!status.ok()) return status;
  Snapshot after = std::make_shared<const Registration>(std::move(registration));
  {
    MutexLock lock(mu_);
    index_.Put(after);
  }
  if (loses_keys) ForgetDeleted();
  NoteChange(id);
  return after;
}

absl::Status SqliteRegistrationStore::DoRemove(const std::string& id) {
  if (absl::Status status = availability(); !status.ok()) return status;
  if (Find(id) == nullptr) return RegistrationNotFound();
  absl::Status status =
      Write(true, [&](SqliteConnection& db) { return DeleteRegistration(db, id); });
  if (!status.ok()) return status;
  {
    MutexLock lock(mu_);
    index_.Erase(id);
  }
  ForgetDeleted();
  WarnOfSetAside();
  NoteChange(id);
  return absl::OkStatus();
}

// Those files are never written to, not even to take something out.
void SqliteRegistrationStore::WarnOfSetAside() const {
  for (const std::string& folder : condition().set_aside) {
    Log(LogLevel::kWarning, "what was set aside may still hold the deleted registration",
        {{"folder", folder}});
  }
}

void SqliteRegistrationStore::NoteChange(const std::string& id) {
  Observer observer;
  {
    MutexLock lock(mu_);
    observer = observer_;
  }
  if (observer) observer(id);
}

// What would be written into a file that somebody removed or replaced is lost with the process.
absl::Status SqliteRegistrationStore::CheckInPlace() {
  const bool in_place = !db_->HasMoved() && directory_->Exists(absl::StrCat(kDatabaseFile, "-wal"));
  if (in_place) return absl::OkStatus();
  absl::Status status =
      NamingTheFile(DamagedDatabase("its file or log was removed or replaced while in use"));
  SetHealth(status);
  return status;
}

// Damage ends when a person deals with that file.
absl::Status SqliteRegistrationStore::NamingTheFile(absl::Status status) const {
  if (!SaysDamaged(status) && ReasonOf(status) != Reason::kStoreTooNew) return status;
  return Annotate(std::move(status), directory_->PathOf(kDatabaseFile));
}

absl::Status SqliteRegistrationStore::Write(
    bool to_purge, absl::FunctionRef<absl::Status(SqliteConnection&)> rows) {
  {
    // Nothing is written into a damaged database: memory still knows everything.
    MutexLock lock(mu_);
    if (SaysDamaged(health_) || !db_.has_value()) return health_;
  }
  if (absl::Status status = CheckInPlace(); !status.ok()) return status;
  const auto write = [&]() -> absl::Status {
    SqliteTransaction transaction(*db_);
    if (absl::Status status = transaction.Begin(); !status.ok()) return status;
    CrashPoint("store.begun");
    if (absl::Status status = rows(*db_); !status.ok()) return status;
    if (to_purge) {
      if (absl::Status status = WriteCopiesToPurge(*db_, true); !status.ok()) return status;
    }
    CrashPoint("store.rows_written");
    return transaction.Commit();
  };
  absl::Status status = NamingTheFile(write());
  if (status.ok()) CrashPoint("store.committed");
  if (status.ok() && to_purge) copies_to_purge_ = true;
  // A constraint is a mistake of ours and says nothing about the disk.
  if (status.ok() || ReasonOf(status) == Reason::kStoreUnavailable) SetHealth(status);
  return status;
}

void SqliteRegistrationStore::ForgetDeleted() {
  if (!db_.has_value() || damaged()) return;
  const bool known = old_pages_left_;
  absl::Status status = db_->TruncateLog();
  if (copies_to_purge_) status.Update(PurgeCopiesNow());
  old_pages_left_ = !status.ok();
  if (status.ok()) CrashPoint("store.deleted_forgotten");
  if (!status.ok() && !known) {
    Log(LogLevel::kWarning, "deleted data may stay in the database's files for now",
        {{"error", status.message()}});
  }
}

absl::Status SqliteRegistrationStore::PurgeCopiesNow() {
  absl::Status status = PurgeCopies(*directory_, [this](absl::string_view id) { return Find(id); });
  if (status.ok()) status = WriteCopiesToPurge(*db_, false);
  if (status.ok()) copies_to_purge_ = false;
  NoteFiles();
  return status;
}

bool SqliteRegistrationStore::damaged() const {
  MutexLock lock(mu_);
  return SaysDamaged(health_);
}

void SqliteRegistrationStore::SetHealth(const absl::Status& health) {
  absl::Status before = health;
  {
    MutexLock lock(mu_);
    std::swap(health_, before);
  }
  if (before.ok() && !health.ok()) {
    Log(LogLevel::kError, "cannot write registrations", {{"error", health.message()}});
  } else if (!before.ok() && health.ok()) {
    Log(LogLevel::kInfo, "registrations can be written again");
  }
}

std::string StoreLibraryVersion() {
  return absl::StrCat("SQLite ", sqlite3_libversion());
}

}  // namespace smartkey
