// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/share_ends.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/log.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLookEvery = absl::Minutes(1);
constexpr absl::Duration kLeastWait = absl::Seconds(1);

absl::Status RemoveEnded(Registration& registration, absl::Time now) {
  const size_t removed =
      std::erase_if(registration.shares, [now](const Share& one) { return one.ends_at <= now; });
  if (removed > 0) return absl::OkStatus();
  return MakeError(Reason::kShareNotFound, "made longer, or taken back, meanwhile");
}

}  // namespace

struct ShareEnds::Core : std::enable_shared_from_this<Core> {
  Core(RegistrationStore& store, Scheduler& scheduler, const Clock& clock)
      : store(store), scheduler(scheduler), clock(clock) {}

  void Look() {
    const absl::Time now = clock.Now();
    absl::Time next = now + kLookEvery;
    for (const RegistrationStore::Snapshot& one : store.List()) {
      bool any = false;
      for (const Share& share : one->shares) {
        any = any || share.ends_at <= now;
        if (share.ends_at > now) next = std::min(next, share.ends_at);
      }
      if (!any) continue;
      // What cannot be written now is tried again at the next look.
      store.Update(
          one->id, [now](Registration& registration) { return RemoveEnded(registration, now); },
          [id = one->id](absl::StatusOr<RegistrationStore::Snapshot> updated) {
            if (updated.ok()) Log(LogLevel::kInfo, "a share has ended", {{"registration", id}});
          });
    }
    scheduler.RunAfter(std::max(kLeastWait, next - now), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Look();
    });
  }

  RegistrationStore& store;
  Scheduler& scheduler;
  const Clock& clock;
};

ShareEnds::ShareEnds(RegistrationStore& store, Scheduler& scheduler, const Clock& clock)
    : core_(std::make_shared<Core>(store, scheduler, clock)) {}

ShareEnds::~ShareEnds() = default;

void ShareEnds::Start() {
  core_->Look();
}

}  // namespace smartkey
