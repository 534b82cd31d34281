// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_registration_store.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "daemon/store/sqlite/registration_rows.h"

namespace smartkey {
namespace {

// How often a log that could not be truncated is tried again when nothing is written.
constexpr absl::Duration kTruncateAgain = absl::Minutes(1);

// True if some key of `before` is in no generation of `after`: its blob has to vanish.
bool LosesAKey(const Registration& before, const Registration& after) {
  for (const Generation& old : before.generations) {
    if (old.key.blob.empty()) continue;
    const bool kept = std::any_of(after.generations.begin(), after.generations.end(),
                                  [&](const Generation& g) { return g.key == old.key; });
    if (!kept) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteRegistrationStore>> SqliteRegistrationStore::Open(
    const std::string& state_dir) {
  absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(state_dir);
  if (!directory.ok()) return directory.status();
  absl::StatusOr<SqliteConnection> db = OpenDatabase(*directory);
  if (!db.ok()) return db.status();
  absl::StatusOr<std::string> instance_id = db->QueryText("SELECT instance_id FROM meta");
  if (!instance_id.ok()) return instance_id.status();
  absl::StatusOr<std::vector<Registration>> contents = ReadRegistrations(*db);
  if (!contents.ok()) return contents.status();
  return std::unique_ptr<SqliteRegistrationStore>(new SqliteRegistrationStore(
      *std::move(directory), *std::move(db), *std::move(instance_id), *std::move(contents)));
}

SqliteRegistrationStore::SqliteRegistrationStore(StateDirectory directory, SqliteConnection db,
                                                 std::string instance_id,
                                                 std::vector<Registration> contents)
    : directory_(std::move(directory)),
      instance_id_(std::move(instance_id)),
      db_(std::move(db)),
      // A process killed between a commit and its truncation left old pages behind.
      old_pages_left_(true) {
  {
    MutexLock lock(mu_);
    for (Registration& registration : contents) {
      index_.Put(std::make_shared<const Registration>(std::move(registration)));
    }
  }
  ForgetOldPages();
  thread_ = std::thread([this] { Run(); });
}

SqliteRegistrationStore::~SqliteRegistrationStore() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
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

std::vector<RegistrationStore::Snapshot> SqliteRegistrationStore::List() const {
  MutexLock lock(mu_);
  return index_.List();
}

void SqliteRegistrationStore::Observe(Observer observer) {
  MutexLock lock(mu_);
  observer_ = std::move(observer);
}

absl::Status SqliteRegistrationStore::health() const {
  MutexLock lock(mu_);
  return health_;
}

void SqliteRegistrationStore::Insert(Registration registration,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, registration = std::move(registration),
           done = std::move(done)](absl::Status turn) mutable {
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

void SqliteRegistrationStore::Enqueue(Task task) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.push_back(std::move(task));
      changed_.NotifyOne();
      return;
    }
  }
  task(MakeError(Reason::kShuttingDown, "the store is closing"));
}

void SqliteRegistrationStore::Run() {
  for (;;) {
    Task task;
    if (!NextTask(task)) return;
    if (task) task(absl::OkStatus());
    if (old_pages_left_) ForgetOldPages();
  }
}

// False when there is nothing to do and there never will be. An empty task: time to tidy up.
bool SqliteRegistrationStore::NextTask(Task& task) {
  MutexLock lock(mu_);
  while (queue_.empty()) {
    if (stopping_) return false;
    if (!old_pages_left_) {
      changed_.Wait(mu_);
    } else if (!changed_.WaitFor(mu_, kTruncateAgain)) {
      return true;
    }
  }
  task = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

absl::Status SqliteRegistrationStore::DoInsert(Registration registration) {
  CutTimesToMilliseconds(registration);
  {
    MutexLock lock(mu_);
    if (absl::Status status = index_.CheckInsert(registration); !status.ok()) return status;
  }
  absl::Status status =
      Write([&](SqliteConnection& db) { return WriteRegistration(db, registration); });
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
  absl::Status status =
      Write([&](SqliteConnection& db) { return WriteRegistration(db, registration); });
  if (!status.ok()) return status;
  if (LosesAKey(*before, registration)) ForgetOldPages();
  Snapshot after = std::make_shared<const Registration>(std::move(registration));
  {
    MutexLock lock(mu_);
    index_.Put(after);
  }
  NoteChange(id);
  return after;
}

absl::Status SqliteRegistrationStore::DoRemove(const std::string& id) {
  if (Find(id) == nullptr) return RegistrationNotFound();
  absl::Status status = Write([&](SqliteConnection& db) { return DeleteRegistration(db, id); });
  if (!status.ok()) return status;
  ForgetOldPages();
  {
    MutexLock lock(mu_);
    index_.Erase(id);
  }
  NoteChange(id);
  return absl::OkStatus();
}

void SqliteRegistrationStore::NoteChange(const std::string& id) {
  Observer observer;
  {
    MutexLock lock(mu_);
    observer = observer_;
  }
  if (observer) observer(id);
}

absl::Status SqliteRegistrationStore::Write(
    absl::FunctionRef<absl::Status(SqliteConnection&)> rows) {
  const auto write = [&]() -> absl::Status {
    SqliteTransaction transaction(db_);
    if (absl::Status status = transaction.Begin(); !status.ok()) return status;
    if (absl::Status status = rows(db_); !status.ok()) return status;
    return transaction.Commit();
  };
  absl::Status status = write();
  // A constraint is a mistake of ours and says nothing about the disk.
  if (status.ok() || ReasonOf(status) == Reason::kStoreUnavailable) SetHealth(status);
  return status;
}

void SqliteRegistrationStore::ForgetOldPages() {
  const absl::Status status = db_.TruncateLog();
  if (!status.ok() && !old_pages_left_) {
    Log(LogLevel::kWarning, "deleted data may stay in the database's log for now",
        {{"error", status.message()}});
  }
  old_pages_left_ = !status.ok();
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

}  // namespace smartkey
