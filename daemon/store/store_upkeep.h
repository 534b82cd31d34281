// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/scheduler.h"
#include "daemon/store/store_maintenance.h"

namespace smartkey {

// Calls StoreMaintenance::Maintain() when it is made and then every ten seconds, counted from the
// end of the last one. Thread-safe; `store` and `scheduler` must outlive it and what it has begun.
class StoreUpkeep {
 public:
  StoreUpkeep(StoreMaintenance& store, Scheduler& scheduler);
  // Begins nothing more.
  ~StoreUpkeep();

 private:
  struct Round;

  std::shared_ptr<Round> round_;
};

}  // namespace smartkey
