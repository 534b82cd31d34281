// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/mutex.h"
#include "daemon/store/store_maintenance.h"

namespace smartkey {

// Answers as it was told, inside the call. Thread-safe.
class FakeStoreMaintenance : public StoreMaintenance {
 public:
  StoreCondition condition() const override;
  void Recover(std::string copy,
               absl::AnyInvocable<void(absl::StatusOr<StoreRecovery>)> done) override;
  void Reset(absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override;
  void Adopt(absl::AnyInvocable<void(absl::Status)> done) override;
  void Maintain(absl::AnyInvocable<void()> done) override;

  void SetCondition(StoreCondition condition);
  // What Recover(), Reset() and Adopt() answer from now on.
  void SetRecovery(absl::StatusOr<StoreRecovery> recovery);
  void SetReset(absl::StatusOr<std::string> reset);

  // Maintain() is not done before ReleaseMaintain().
  void HoldMaintain();
  void ReleaseMaintain();

  // What was asked: "recover COPY", "reset", "adopt".
  std::vector<std::string> calls() const;
  int maintained() const;

 private:
  mutable Mutex mu_;
  StoreCondition condition_ ABSL_GUARDED_BY(mu_);
  absl::StatusOr<StoreRecovery> recovery_ ABSL_GUARDED_BY(mu_) = StoreRecovery();
  absl::StatusOr<std::string> reset_ ABSL_GUARDED_BY(mu_) = std::string();
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  int maintained_ ABSL_GUARDED_BY(mu_) = 0;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<absl::AnyInvocable<void()>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
