// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/store_upkeep.h"

namespace smartkey {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(10);

}  // namespace

// What is under way holds it weakly, so that it ends with its StoreUpkeep.
struct StoreUpkeep::Round : std::enable_shared_from_this<Round> {
  Round(StoreMaintenance& store, Scheduler& scheduler) : store(store), scheduler(scheduler) {}

  void Begin() {
    store.Maintain([weak = weak_from_this()] {
      if (const std::shared_ptr<Round> self = weak.lock()) self->BeginLater();
    });
  }
  void BeginLater() {
    scheduler.RunAfter(kInterval, [weak = weak_from_this()] {
      if (const std::shared_ptr<Round> self = weak.lock()) self->Begin();
    });
  }

  StoreMaintenance& store;
  Scheduler& scheduler;
};

StoreUpkeep::StoreUpkeep(StoreMaintenance& store, Scheduler& scheduler)
    : round_(std::make_shared<Round>(store, scheduler)) {
  round_->Begin();
}

StoreUpkeep::~StoreUpkeep() = default;

}  // namespace smartkey
