// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_store_maintenance.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace smartkey {

StoreCondition FakeStoreMaintenance::condition() const {
  MutexLock lock(mu_);
  return condition_;
}

void FakeStoreMaintenance::Recover(std::string copy,
                                   absl::AnyInvocable<void(absl::StatusOr<StoreRecovery>)> done) {
  absl::StatusOr<StoreRecovery> answer;
  {
    MutexLock lock(mu_);
    calls_.push_back(absl::StrCat("recover ", copy));
    answer = recovery_;
  }
  done(std::move(answer));
}

void FakeStoreMaintenance::Reset(absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  absl::StatusOr<std::string> answer;
  {
    MutexLock lock(mu_);
    calls_.push_back("reset");
    answer = reset_;
  }
  done(std::move(answer));
}

void FakeStoreMaintenance::Adopt(absl::AnyInvocable<void(absl::Status)> done) {
  {
    MutexLock lock(mu_);
    calls_.push_back("adopt");
    condition_.of_another_machine = false;
  }
  done(absl::OkStatus());
}

void FakeStoreMaintenance::Maintain(absl::AnyInvocable<void()> done) {
  {
    MutexLock lock(mu_);
    ++maintained_;
    if (held_) return waiting_.push_back(std::move(done));
  }
  done();
}

void FakeStoreMaintenance::SetCondition(StoreCondition condition) {
  MutexLock lock(mu_);
  condition_ = std::move(condition);
}

void FakeStoreMaintenance::SetRecovery(absl::StatusOr<StoreRecovery> recovery) {
  MutexLock lock(mu_);
  recovery_ = std::move(recovery);
}

void FakeStoreMaintenance::SetReset(absl::StatusOr<std::string> reset) {
  MutexLock lock(mu_);
  reset_ = std::move(reset);
}

void FakeStoreMaintenance::HoldMaintain() {
  MutexLock lock(mu_);
  held_ = true;
}

void FakeStoreMaintenance::ReleaseMaintain() {
  std::vector<absl::AnyInvocable<void()>> waiting;
  {
    MutexLock lock(mu_);
    held_ = false;
    waiting.swap(waiting_);
  }
  for (absl::AnyInvocable<void()>& done : waiting) done();
}

std::vector<std::string> FakeStoreMaintenance::calls() const {
  MutexLock lock(mu_);
  return calls_;
}

int FakeStoreMaintenance::maintained() const {
  MutexLock lock(mu_);
  return maintained_;
}

}  // namespace smartkey
