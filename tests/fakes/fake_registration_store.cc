// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_registration_store.h"

#include <limits>
#include <utility>

#include "base/error.h"

namespace smartkey {

FakeRegistrationStore::FakeRegistrationStore(std::vector<Registration> contents) {
  MutexLock lock(mu_);
  for (Registration& registration : contents) {
    index_.Put(std::make_shared<const Registration>(std::move(registration)));
  }
}

RegistrationStore::Snapshot FakeRegistrationStore::Find(absl::string_view id) const {
  MutexLock lock(mu_);
  return index_.Find(id);
}

RegistrationStore::Snapshot FakeRegistrationStore::FindByEnrollment(
    absl::string_view enrollment_id) const {
  MutexLock lock(mu_);
  return index_.FindByEnrollment(enrollment_id);
}

RegistrationStore::Listing FakeRegistrationStore::List() const {
  MutexLock lock(mu_);
  return index_.List();
}

std::vector<RegistrationStore::Snapshot> FakeRegistrationStore::ListOwned(
    absl::string_view owner_name) const {
  MutexLock lock(mu_);
  return index_.ListOwned(owner_name);
}

RegistrationStore::Snapshot FakeRegistrationStore::FindOwned(uid_t owner_uid,
                                                             absl::string_view owner_name,
                                                             absl::string_view name) const {
  MutexLock lock(mu_);
  return index_.FindOwned(owner_uid, owner_name, name);
}

void FakeRegistrationStore::Insert(Registration registration,
                                   absl::AnyInvocable<absl::Status()> may,
                                   absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, registration = std::move(registration), may = std::move(may),
           done = std::move(done)]() mutable {
    const absl::Status allowed = may ? may() : absl::OkStatus();
    done(allowed.ok() ? DoInsert(std::move(registration)) : allowed);
  });
}

void FakeRegistrationStore::Update(std::string id,
                                   absl::AnyInvocable<absl::Status(Registration&)> change,
                                   absl::AnyInvocable<void(absl::StatusOr<Snapshot>)> done) {
  Enqueue([this, id = std::move(id), change = std::move(change), done = std::move(done)]() mutable {
    done(DoUpdate(id, std::move(change)));
  });
}

void FakeRegistrationStore::Remove(std::string id, absl::AnyInvocable<void(absl::Status)> done) {
  Enqueue([this, id = std::move(id), done = std::move(done)]() mutable { done(DoRemove(id)); });
}

absl::Status FakeRegistrationStore::DoInsert(Registration registration) {
  CutTimesToMilliseconds(registration);
  const std::string id = registration.id;
  {
    MutexLock lock(mu_);
    if (absl::Status status = index_.CheckInsert(registration); !status.ok()) return status;
    if (absl::Status status = TakeFailure(); !status.ok()) return status;
    index_.Put(std::make_shared<const Registration>(std::move(registration)));
  }
  NoteChange(id);
  return absl::OkStatus();
}

absl::StatusOr<RegistrationStore::Snapshot> FakeRegistrationStore::DoUpdate(
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
  Snapshot after;
  {
    MutexLock lock(mu_);
    if (absl::Status status = index_.CheckUpdate(registration); !status.ok()) return status;
    if (absl::Status status = TakeFailure(); !status.ok()) return status;
    after = std::make_shared<const Registration>(std::move(registration));
    index_.Put(after);
  }
  NoteChange(id);
  return after;
}

absl::Status FakeRegistrationStore::DoRemove(const std::string& id) {
  {
    MutexLock lock(mu_);
    if (!availability_.ok()) return availability_;
    if (index_.Find(id) == nullptr) return RegistrationNotFound();
    if (absl::Status status = TakeFailure(); !status.ok()) return status;
    index_.Erase(id);
  }
  NoteChange(id);
  return absl::OkStatus();
}

void FakeRegistrationStore::NoteChange(const std::string& id) {
  Observer observer;
  {
    MutexLock lock(mu_);
    observer = observer_;
  }
  if (observer) observer(id);
}

void FakeRegistrationStore::Observe(Observer observer) {
  MutexLock lock(mu_);
  observer_ = std::move(observer);
}

absl::Status FakeRegistrationStore::TakeFailure() {
  if (!availability_.ok()) return availability_;
  if (!failure_.ok() && writes_before_failure_ == 0) return failure_;
  if (!failure_.ok()) --writes_before_failure_;
  ++writes_;
  return absl::OkStatus();
}

absl::Status FakeRegistrationStore::health() const {
  MutexLock lock(mu_);
  if (!availability_.ok()) return availability_;
  return writes_before_failure_ == 0 ? failure_ : absl::OkStatus();
}

absl::Status FakeRegistrationStore::availability() const {
  MutexLock lock(mu_);
  return availability_;
}

void FakeRegistrationStore::BeUnavailable(absl::Status error) {
  MutexLock lock(mu_);
  availability_ = std::move(error);
}

void FakeRegistrationStore::Enqueue(Task task) {
  {
    MutexLock lock(mu_);
    queue_.push_back(std::move(task));
    if (held_) return;
  }
  Drain(std::numeric_limits<int>::max());
}

void FakeRegistrationStore::Drain(int limit) {
  {
    MutexLock lock(mu_);
    if (draining_) return;  // whoever drains gets to it
    draining_ = true;
  }
  for (int i = 0;; ++i) {
    Task task;
    {
      MutexLock lock(mu_);
      if (queue_.empty() || i == limit) {
        draining_ = false;
        return;
      }
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

void FakeRegistrationStore::Hold() {
  MutexLock lock(mu_);
  held_ = true;
}

void FakeRegistrationStore::Run(int count) {
  Drain(count);
}

void FakeRegistrationStore::Release() {
  {
    MutexLock lock(mu_);
    held_ = false;
  }
  Drain(std::numeric_limits<int>::max());
}

int FakeRegistrationStore::waiting() const {
  MutexLock lock(mu_);
  return static_cast<int>(queue_.size());
}

void FakeRegistrationStore::FailWrites(absl::Status error) {
  FailWritesAfter(0, std::move(error));
}

void FakeRegistrationStore::FailWritesAfter(int count, absl::Status error) {
  MutexLock lock(mu_);
  writes_before_failure_ = count;
  failure_ = std::move(error);
}

std::vector<Registration> FakeRegistrationStore::Contents() const {
  std::vector<Registration> contents;
  for (const Snapshot& registration : List()) contents.push_back(*registration);
  return contents;
}

int FakeRegistrationStore::writes() const {
  MutexLock lock(mu_);
  return writes_;
}

}  // namespace smartkey
