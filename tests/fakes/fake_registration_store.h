// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"
#include "daemon/store/registration_index.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// A store without a disk, with the rules of the real one (RegistrationIndex, contract suite).
//
// A write is carried out inside the call that makes it, unless another one is under way or the
// store is held: then it waits its turn, so writes never overlap and `done` may start the next one.
// No lock is held while `change` and `done` run. Thread-safe.
//
//   FakeRegistrationStore store;
//   store.Hold();            // writes queue up, as on a slow disk
//   manager.Begin(...);
//   store.Run(1);            // one of them happens
//   FakeRegistrationStore after_crash(store.Contents());  // what a restart would find
class FakeRegistrationStore : public RegistrationStore {
 public:
  FakeRegistrationStore() = default;
  explicit FakeRegistrationStore(std::vector<Registration> contents);
  // Drops what is still held, without calling `done`: what a kill does.
  ~FakeRegistrationStore() override = default;

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
  std::string instance_id() const override { return instance_id_; }
  absl::Status availability() const override;
  absl::Status health() const override;

  // From now on writes wait for Run().
  void Hold();
  // Carries out up to `count` waiting writes; those that `done` starts count too.
  void Run(int count);
  // Carries out what waits, and ends Hold().
  void Release();
  int waiting() const;

  // Writes fail with `error` and change nothing, until it is OK again. health() says the same.
  void FailWrites(absl::Status error);
  // The next `count` writes succeed, those after them fail with `error`.
  void FailWritesAfter(int count, absl::Status error);

  // Nothing can be read from now on: it is as if there were no registrations, and availability() is
  // this error. Only for a store that is empty.
  void BeUnavailable(absl::Status error);

  // Copies of everything "on disk", for the next store.
  std::vector<Registration> Contents() const;
  // Writes that succeeded.
  int writes() const;

 private:
  using Task = absl::AnyInvocable<void()>;

  void Enqueue(Task task);
  void Drain(int limit);
  absl::Status TakeFailure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void NoteChange(const std::string& id);
  absl::Status DoInsert(Registration registration);
  absl::StatusOr<Snapshot> DoUpdate(const std::string& id,
                                    absl::AnyInvocable<absl::Status(Registration&)> change);
  absl::Status DoRemove(const std::string& id);

  const std::string instance_id_ = "fake-instance";

  mutable Mutex mu_;
  RegistrationIndex index_ ABSL_GUARDED_BY(mu_);
  Observer observer_ ABSL_GUARDED_BY(mu_);
  std::deque<Task> queue_ ABSL_GUARDED_BY(mu_);
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  absl::Status availability_ ABSL_GUARDED_BY(mu_);
  int writes_before_failure_ ABSL_GUARDED_BY(mu_) = 0;
  int writes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace smartkey
