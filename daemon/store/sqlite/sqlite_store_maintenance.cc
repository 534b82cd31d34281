// SPDX-License-Identifier: Apache-2.0
// The other half of SqliteRegistrationStore: how the database comes to be read, is copied, and is
// recovered.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/store/sqlite/daily_copies.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/registration_rows.h"
#include "daemon/store/sqlite/sqlite_registration_store.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

constexpr absl::Duration kCopyAgain = absl::Minutes(10);
constexpr size_t kRoom = 64 * 1024;  // for the pages of a registration

absl::Status NothingToDo(absl::string_view why) {
  return WithRemedy(MakeError(Reason::kInvalidArgument, why),
                    "nothing is to be done; 'smartkeyctl store status' says how it does");
}

}  // namespace

absl::Status SqliteRegistrationStore::TryOpen() {
  absl::StatusOr<std::vector<Registration>> contents = Read();
  if (directory_.has_value()) NoteFiles();
  if (contents.ok()) {
    TakeUp(*std::move(contents));
    return absl::OkStatus();
  }
  // What was read once stays in memory, and is served from there.
  if (read_) {
    SetHealth(contents.status());
    return contents.status();
  }
  absl::Status before = contents.status();
  const std::string instance = FindInstance();
  {
    MutexLock lock(mu_);
    instance_id_ = instance;
    std::swap(availability_, before);
  }
  if (contents.status() != before && ReasonOf(contents.status()) != Reason::kAlreadyRunning) {
    Log(LogLevel::kError, "the registrations cannot be read",
        {{"error", contents.status().message()}, {"remedy", RemedyOf(contents.status())}});
  }
  return contents.status();
}

// For who asks before the database can be read; what it makes up a reset will use.
std::string SqliteRegistrationStore::FindInstance() const {
  std::string id = instance_id();
  if (id.empty() && directory_.has_value()) {
    id = InstanceBeside(*directory_);
    if (id.empty()) {
      if (const auto left = GatherContents(*directory_); left.ok()) id = left->meta.instance_id;
    }
    if (id.empty()) id = RandomId();
  }
  return id;
}

absl::StatusOr<std::vector<Registration>> SqliteRegistrationStore::Read() {
  if (!directory_.has_value()) {
    absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(options_.state_dir);
    if (!directory.ok()) return directory.status();
    directory_.emplace(*std::move(directory));
  }
  absl::StatusOr<SqliteConnection> db = OpenDatabase(*directory_, clock_.Now());
  if (SaysDamaged(db.status())) return NamingTheFile(db.status());
  if (!db.ok()) return directory_->Explain(NamingTheFile(db.status()));
  absl::StatusOr<DatabaseMeta> meta = ReadMeta(*db);
  if (!meta.ok()) return NamingTheFile(meta.status());
  absl::StatusOr<std::vector<Registration>> contents = ReadRegistrations(*db);
  if (!contents.ok()) {
    db->SetCheckpointOnClose(false);  // it is left as it was found
    return NamingTheFile(contents.status());
  }
  db_.emplace(*std::move(db));
  copies_to_purge_ = meta->copies_to_purge;
  CheckMachine(*meta);
  MutexLock lock(mu_);
  instance_id_ = meta->instance_id;
  condition_.schema_version = kSchemaVersion;
  return contents;
}

void SqliteRegistrationStore::TakeUp(std::vector<Registration> contents) {
  read_ = true;
  bool anew = false;
  absl::Status before;
  const absl::Status writable = CheckWritable();
  {
    MutexLock lock(mu_);
    anew = index_.List().empty();
    index_ = RegistrationIndex();
    for (Registration& registration : contents) {
      index_.Put(std::make_shared<const Registration>(std::move(registration)));
    }
    health_ = writable;
    std::swap(availability_, before);
  }
  if (!before.ok()) Log(LogLevel::kInfo, "the registrations can be read now");
  if (!writable.ok()) {
    Log(LogLevel::kError, "cannot write registrations", {{"error", writable.message()}});
  } else {
    // A process killed between a commit and its truncation left old pages behind.
    ForgetDeleted();
  }
  if (!anew) return;
  for (const Snapshot& registration : List()) NoteChange(registration->id);
  if (taken_up_) taken_up_();
}

absl::Status SqliteRegistrationStore::CheckWritable() {
  if (!db_->ReadOnly()) return absl::OkStatus();
  return directory_->Explain(SqliteError(SQLITE_READONLY, "writing the database"));
}

// A connection that was opened on a read-only file system writes nothing after that has ended, nor
// does one that is opened while it is: they share the index of the log.
void SqliteRegistrationStore::OpenForWriting() {
  if (!directory_->IsWritable(kDatabaseFile)) return;
  db_->SetCheckpointOnClose(false);
  db_.reset();
  if (!TryOpen().ok() || db_->ReadOnly()) return;
  Log(LogLevel::kInfo, "registrations can be written again");
}

void SqliteRegistrationStore::CheckMachine(const DatabaseMeta& meta) {
  machine_identity_ = meta.machine_identity;
  const std::string& here = options_.machine_identity;
  if (machine_identity_.empty() && !here.empty()) {
    const absl::Status written = WriteMachineIdentity(*db_, here);
    if (written.ok()) machine_identity_ = here;
  }
  const bool another = !machine_identity_.empty() && !here.empty() && machine_identity_ != here;
  if (another) {
    Log(LogLevel::kWarning,
        "this state directory was written on another computer: 'smartkeyctl store status' says "
        "what that means",
        {{"state_dir", options_.state_dir}});
  }
  MutexLock lock(mu_);
  condition_.of_another_machine = another;
}

StoreCondition SqliteRegistrationStore::condition() const {
  MutexLock lock(mu_);
  StoreCondition condition = condition_;
  if (!availability_.ok()) condition.schema_version = 0;
  return condition;
}

void SqliteRegistrationStore::OnTakenUp(absl::AnyInvocable<void()> taken_up) {
  Enqueue([this, taken_up = std::move(taken_up)](absl::Status turn) mutable {
    if (turn.ok()) taken_up_ = std::move(taken_up);
  });
}

void SqliteRegistrationStore::Recover(
    std::string copy, absl::AnyInvocable<void(absl::StatusOr<StoreRecovery>)> done) {
  Enqueue([this, copy = std::move(copy), done = std::move(done)](absl::Status turn) mutable {
    if (!turn.ok()) return done(turn);
    done(DoRecover(copy));
  });
}

void SqliteRegistrationStore::Reset(absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  Enqueue([this, done = std::move(done)](absl::Status turn) mutable {
    if (!turn.ok()) return done(turn);
    done(DoReset());
  });
}

void SqliteRegistrationStore::Adopt(absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, done = std::move(done)](absl::Status turn) mutable {
    done(turn.ok() ? DoAdopt() : turn);
  });
}

void SqliteRegistrationStore::Maintain(absl::AnyInvocable<void()> done) {
  Enqueue([this, done = std::move(done)](absl::Status turn) mutable {
    if (!turn.ok()) return;
    DoMaintain();
    done();
  });
}

void SqliteRegistrationStore::DoMaintain() {
  if (!db_.has_value() && !damaged()) TryOpen().IgnoreError();  // it says so itself
  NoteSetAside();
  if (!db_.has_value() || damaged()) return;
  if (!CheckInPlace().ok()) return;  // it says so itself, too
  if (db_->ReadOnly()) OpenForWriting();
  if (!db_.has_value() || db_->ReadOnly()) return;
  if (!health().ok()) TryWriting();
  if (copies_to_purge_) ForgetDeleted();
  CopyIfDue();
}

// Health is that of the last write, and nobody may come with another for days. What is there is
// written once more; on a full disk that alone may find a place in the log, and says nothing.
void SqliteRegistrationStore::TryWriting() {
  if (!directory_->CheckRoom(kRoom).ok()) return;
  Write(false, [this](SqliteConnection& db) {
    return WriteCopiesToPurge(db, copies_to_purge_);
  }).IgnoreError();  // health says it
}

void SqliteRegistrationStore::CopyIfDue() {
  const absl::Time now = clock_.Now();
  absl::Status before;
  {
    MutexLock lock(mu_);
    if (!CopyIsDue(condition_.copies, now)) return;
    before = condition_.copying;
  }
  // A disk that is full or failing is not filled and driven each time.
  if (!before.ok() && clock_.Boot() < copy_again_at_) return;
  const absl::Status made = NamingTheFile(MakeCopy(*directory_, kDatabaseFile, *db_, now));
  if (SaysDamaged(made)) SetHealth(made);
  if (!made.ok()) copy_again_at_ = clock_.Boot() + kCopyAgain;
  if (!made.ok() && made != before) {
    Log(LogLevel::kWarning, "the database cannot be copied", {{"error", made.message()}});
  }
  {
    MutexLock lock(mu_);
    condition_.copying = made;
  }
  NoteFiles();
}

void SqliteRegistrationStore::NoteFiles() {
  NoteSetAside();
  std::vector<StoreCopy> copies = ListCopies(*directory_);
  MutexLock lock(mu_);
  condition_.copies = std::move(copies);
}

// Administrators remove those folders at any time.
void SqliteRegistrationStore::NoteSetAside() {
  if (!directory_.has_value()) return;
  std::vector<std::string> set_aside = ListSetAside(*directory_);
  MutexLock lock(mu_);
  condition_.set_aside = std::move(set_aside);
}

absl::Status SqliteRegistrationStore::CheckRecoverable(const std::string& copy) const {
  MutexLock lock(mu_);
  if (availability_.ok() && SaysDamaged(health_)) {
    if (copy.empty()) return absl::OkStatus();
    return WithRemedy(MakeError(Reason::kInvalidArgument,
                                "all registrations are in memory, and newer than any copy"),
                      "'smartkeyctl store recover' without a copy writes them to a new database");
  }
  if (availability_.ok()) {
    // After a reset an older state can still be taken up.
    if (!copy.empty() && index_.List().empty()) return absl::OkStatus();
    return NothingToDo("the database is in order and in use: there is nothing to be recovered");
  }
  if (ReasonOf(availability_) == Reason::kStoreTooNew || !directory_.has_value()) {
    return availability_;
  }
  // It may be whole, and only not to be read just now: that is to be mended, not replaced.
  if (!SaysDamaged(availability_) && copy.empty()) return availability_;
  return absl::OkStatus();
}

absl::StatusOr<RecoveredContents> SqliteRegistrationStore::ContentsFor(
    const std::string& copy) const {
  if (!availability().ok() || !damaged()) {
    return copy.empty() ? GatherContents(*directory_) : ContentsOfCopy(*directory_, copy);
  }
  RecoveredContents contents;
  contents.meta.instance_id = instance_id();
  contents.meta.machine_identity = machine_identity_;
  for (const Snapshot& registration : List()) contents.registrations.push_back(*registration);
  contents.recovery.from_memory = static_cast<int>(contents.registrations.size());
  return contents;
}

absl::StatusOr<StoreRecovery> SqliteRegistrationStore::DoRecover(const std::string& copy) {
  if (absl::Status status = CheckRecoverable(copy); !status.ok()) return status;
  absl::StatusOr<RecoveredContents> contents = ContentsFor(copy);
  if (!contents.ok()) return contents.status();
  if (contents->meta.instance_id.empty()) contents->meta.instance_id = instance_id();
  if (contents->meta.machine_identity.empty()) {
    contents->meta.machine_identity = options_.machine_identity;
  }
  absl::StatusOr<std::string> folder = Replace(*contents);
  if (!folder.ok()) return folder.status();
  contents->recovery.set_aside = *folder;
  Log(LogLevel::kWarning, "the database was recovered",
      {{"registrations", contents->recovery.registrations()}, {"set_aside", *folder}});
  return contents->recovery;
}

absl::StatusOr<std::string> SqliteRegistrationStore::DoReset() {
  const absl::Status unavailable = availability();
  if (unavailable.ok() && damaged()) {
    return WithRemedy(
        MakeError(Reason::kInvalidArgument, "all registrations are in memory: none need be lost"),
        "'smartkeyctl store recover' writes them to a new database");
  }
  if (unavailable.ok()) {
    return NothingToDo("the registrations could be read: there is nothing to be reset");
  }
  if (!directory_.has_value() ||
      (!SaysDamaged(unavailable) && ReasonOf(unavailable) != Reason::kStoreTooNew)) {
    return unavailable;
  }
  RecoveredContents nothing;
  nothing.meta.instance_id = instance_id();
  nothing.meta.machine_identity = options_.machine_identity;
  absl::StatusOr<std::string> folder = Replace(nothing);
  if (!folder.ok()) return folder;
  Log(LogLevel::kWarning, "the database was reset: it holds no registrations",
      {{"set_aside", *folder}});
  return folder;
}

absl::StatusOr<std::string> SqliteRegistrationStore::Replace(const RecoveredContents& contents) {
  if (db_.has_value()) {
    db_->SetCheckpointOnClose(false);  // what is set aside stays as it is
    db_.reset();
  }
  const bool from_memory = availability().ok() && damaged();
  absl::StatusOr<std::string> folder =
      ReplaceDatabase(*directory_, contents.registrations, contents.meta, clock_.Now());
  // After a failure the old one is looked at again, unless memory is all there is.
  if (!folder.ok()) {
    if (!from_memory) TryOpen().IgnoreError();
    return Annotate(folder.status(), "replacing the database");
  }
  if (absl::Status status = TryOpen(); !status.ok()) return status;
  CopyIfDue();
  return folder;
}

absl::Status SqliteRegistrationStore::DoAdopt() {
  if (absl::Status status = availability(); !status.ok()) return status;
  absl::Status status = Write(false, [&](SqliteConnection& db) {
    return WriteMachineIdentity(db, options_.machine_identity);
  });
  if (!status.ok()) return status;
  machine_identity_ = options_.machine_identity;
  MutexLock lock(mu_);
  condition_.of_another_machine = false;
  return absl::OkStatus();
}

}  // namespace smartkey
