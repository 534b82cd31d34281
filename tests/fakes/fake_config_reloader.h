// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "base/mutex.h"
#include "daemon/model/config_reload.h"

namespace smartkey {

// Answers at once, with what the test has set.
class FakeConfigReloader : public ConfigReloader {
 public:
  void Reload(absl::AnyInvocable<void(absl::StatusOr<ConfigReload>)> done) override {
    absl::StatusOr<ConfigReload> answer;
    {
      MutexLock lock(mu_);
      answer = answer_;
    }
    done(std::move(answer));
  }
  ConfigState state() const override {
    MutexLock lock(mu_);
    return state_;
  }

  void SetAnswer(absl::StatusOr<ConfigReload> answer) {
    MutexLock lock(mu_);
    answer_ = std::move(answer);
  }
  void SetState(ConfigState state) {
    MutexLock lock(mu_);
    state_ = std::move(state);
  }

 private:
  mutable Mutex mu_;
  absl::StatusOr<ConfigReload> answer_ ABSL_GUARDED_BY(mu_) = ConfigReload();
  ConfigState state_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
