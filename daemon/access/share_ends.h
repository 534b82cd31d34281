// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/scheduler.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// Takes shares out of their records once they have ended, so that whoever watches is told as of any
// other change. That an ended share allows nothing does not wait for this: AccessPolicy sees to it
// at every request. Looks once a minute, and when the next one ends. Thread-safe.
class ShareEnds {
 public:
  // All of it outlives this and its tasks.
  ShareEnds(RegistrationStore& store, Scheduler& scheduler, const Clock& clock);
  ~ShareEnds();

  // To be called once, when the store can be read.
  void Start();

 private:
  struct Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace smartkey
