// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "daemon/access/access_policy.h"
#include "daemon/model/caller.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What a watcher is told. Numbers are those of the proto.
struct RegistrationEvent {
  enum class Kind {
    kCurrent = 1,  // it is so now
    kRemoved = 2,  // gone, no longer the watcher's to see, or no longer what was asked for
    kSynced = 3,   // all that there were at the start have been told
    kEnding = 4,   // its access will probably end within `ending_days`
  };
  Kind kind = Kind::kCurrent;
  std::string id;                            // empty with kSynced
  RegistrationStore::Snapshot registration;  // null with kRemoved and kSynced
  int ending_days = 0;                       // 14, 7 or 1
};

// Every change of the registrations that a caller may see, for any number of watchers.
//
// A watcher is woken when there is something, and takes one event after the other when it is ready
// for the next. What has changed is kept as a set of ids for each watcher, so that a slow one costs
// at most one entry for each registration and misses only what has been overtaken: what it takes is
// always how things stand at that moment, and whether it may see that is asked anew each time.
//
// A change costs its writer one lock; watchers are woken by the scheduler, which should have a
// thread of its own where there may be a thousand. The wall clock is looked at every ten minutes
// for accesses that come to their end; each watcher is told once for each of 14, 7 and 1 days.
//
// Thread-safe. At most 1024 watchers for a Caller::account() and 8192 in all.
class RegistrationFeed {
 public:
  using WatchId = uint64_t;  // never 0
  using Filter = std::function<bool(const Registration&)>;

  // Observes `store` from here on, alone.
  RegistrationFeed(RegistrationStore& store, const AccessPolicy& access, Scheduler& scheduler,
                   const Clock& clock);
  ~RegistrationFeed();

  // `filter` says which registrations are wanted; it must not block. `wake` runs on the scheduler's
  // thread when Next has something again after it had nothing, and must not block; also once more
  // after Unwatch, if it was about to. Errors: those of AccessPolicy::WhyNone for a caller
  // who sees none, kRateLimited, kShuttingDown.
  absl::StatusOr<WatchId> Watch(const Caller& caller, Filter filter, std::function<void()> wake);

  // The next event: first kCurrent for each registration by creation time, then kSynced, then
  // changes. nullopt: nothing now. Called by one thread at a time for a watch. Errors:
  // kShuttingDown after Stop, kCancelled after Unwatch.
  absl::StatusOr<absl::optional<RegistrationEvent>> Next(WatchId id);

  void Unwatch(WatchId id);

  // Wakes every watcher to be told kShuttingDown; there are no new ones.
  void Stop();

  // Has every watcher look at a registration again: how it stands has changed though its record has
  // not, as when its server is configured no more.
  void NoteChange(const std::string& id);

  int watchers() const;

 private:
  class Core;
  const std::shared_ptr<Core> core_;  // outlives the feed in tasks under way
};

}  // namespace smartkey
