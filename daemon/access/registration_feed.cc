// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/registration_feed.h"

#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "daemon/model/expected_end.h"

namespace smartkey {

namespace {

constexpr int kMostWatchersOfOne = 1024;
constexpr size_t kMostWatchers = 8192;
constexpr absl::Duration kLookForEndsEvery = absl::Minutes(10);

using Snapshot = RegistrationStore::Snapshot;
using Kind = RegistrationEvent::Kind;

// What is to be looked at for a watcher: whether a registration has changed, or comes to its end.
enum class Look { kChange, kEnd };
using Entry = std::pair<std::string, Look>;

// What a watcher knows of a registration.
struct Told {
  absl::Time end = absl::InfiniteFuture();
  int ending_days = 0;  // announced last for that end; 0: nothing yet
};

struct Watcher {
  Caller caller;
  RegistrationFeed::Filter filter;
  std::function<void()> wake;

  // Guarded by Core::mu_. `queue` and `queued` hold the same entries.
  std::deque<Entry> queue;
  std::set<Entry> queued;
  size_t initial = 0;  // how many of `queue`, from its front, were there at the start
  bool synced = false;
  bool idle = false;  // was told that there is nothing, and not woken since

  // Touched by Next alone. Registrations not in here have not been told of, or were REMOVED.
  std::map<std::string, Told> told;
};

}  // namespace

class RegistrationFeed::Core : public std::enable_shared_from_this<RegistrationFeed::Core> {
 public:
  Core(RegistrationStore& store, const AccessPolicy& access, Scheduler& scheduler,
       const Clock& clock)
      : store_(store), access_(access), scheduler_(scheduler), clock_(clock) {}

  absl::StatusOr<WatchId> Watch(const Caller& caller, Filter filter, std::function<void()> wake);
  absl::StatusOr<absl::optional<RegistrationEvent>> Next(WatchId id);
  void Unwatch(WatchId id);
  void Stop();
  int watchers() const;

  // By the store on its thread, and by anybody.
  void NoteChange(const std::string& id);

 private:
  using WatcherPtr = std::shared_ptr<Watcher>;
  using Wakes = std::vector<std::function<void()>>;

  absl::Status Admit(const Caller& caller) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Enqueue(Watcher& watcher, Entry entry);
  // Enqueues for every watcher. Returns whom to wake, which is done without the lock.
  Wakes EnqueueForAll(const std::set<std::string>& ids, Look look)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SpreadChanges();
  void LookForEnds();
  void ScheduleLookForEnds();

  // Null if the watcher may not see it, or does not want it, now.
  Snapshot Visible(const Watcher& watcher, const std::string& id) const;
  absl::optional<RegistrationEvent> LookAtChange(Watcher& watcher, const std::string& id);
  absl::optional<RegistrationEvent> LookAtEnd(Watcher& watcher, const std::string& id);

  RegistrationStore& store_;
  const AccessPolicy& access_;
  Scheduler& scheduler_;
  const Clock& clock_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  WatchId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<WatchId, WatcherPtr> watchers_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, int> by_account_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> changed_ ABSL_GUARDED_BY(mu_);  // a task is under way while not empty
  bool looking_for_ends_ ABSL_GUARDED_BY(mu_) = false;  // a task is under way
};

absl::Status RegistrationFeed::Core::Admit(const Caller& caller) {
  if (stopped_) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  const auto own = by_account_.find(caller.account());
  if (watchers_.size() < kMostWatchers &&
      (own == by_account_.end() || own->second < kMostWatchersOfOne)) {
    return absl::OkStatus();
  }
  return WithRetryAfter(MakeError(Reason::kRateLimited, "enough calls watch registrations"),
                        absl::Seconds(10));
}

absl::StatusOr<RegistrationFeed::WatchId> RegistrationFeed::Core::Watch(
    const Caller& caller, Filter filter, std::function<void()> wake) {
  // Nobody is told that there are none where that is not known, or not his to know.
  if (access_.List(caller).empty()) {
    if (absl::Status status = access_.WhyNone(caller, "see"); !status.ok()) return status;
  }
  auto watcher = std::make_shared<Watcher>();
  watcher->caller = caller;
  watcher->filter = std::move(filter);
  watcher->wake = std::move(wake);
  WatchId id = 0;
  bool look_for_ends = false;
  {
    MutexLock lock(mu_);
    if (absl::Status status = Admit(caller); !status.ok()) return status;
    id = next_id_++;
    watchers_[id] = watcher;
    ++by_account_[caller.account()];
    look_for_ends = !std::exchange(looking_for_ends_, true);
  }
  // Changes are noted from here on, so that none falls between the list and the first of them.
  const std::vector<Snapshot> present = access_.List(caller);
  {
    MutexLock lock(mu_);
    for (const Snapshot& one : present) Enqueue(*watcher, {one->id, Look::kChange});
    watcher->initial = watcher->queue.size();
  }
  if (look_for_ends) ScheduleLookForEnds();
  return id;
}

absl::StatusOr<absl::optional<RegistrationEvent>> RegistrationFeed::Core::Next(WatchId id) {
  for (;;) {
    WatcherPtr watcher;
    Entry entry;
    {
      MutexLock lock(mu_);
      if (stopped_) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
      const auto found = watchers_.find(id);
      if (found == watchers_.end()) return MakeError(Reason::kCancelled, "the watch has ended");
      watcher = found->second;
      if (watcher->initial == 0 && !std::exchange(watcher->synced, true)) {
        RegistrationEvent synced;
        synced.kind = Kind::kSynced;
        return synced;
      }
      if (watcher->queue.empty()) {
        watcher->idle = true;
        return absl::nullopt;
      }
      entry = std::move(watcher->queue.front());
      watcher->queue.pop_front();
      watcher->queued.erase(entry);
      if (watcher->initial > 0) --watcher->initial;
    }
    absl::optional<RegistrationEvent> event = entry.second == Look::kChange
                                                  ? LookAtChange(*watcher, entry.first)
                                                  : LookAtEnd(*watcher, entry.first);
    if (event.has_value()) return event;
  }
}

Snapshot RegistrationFeed::Core::Visible(const Watcher& watcher, const std::string& id) const {
  Snapshot registration = store_.Find(id);
  if (registration == nullptr ||
      !access_.RightTo(watcher.caller, *registration).operations.Has(Operation::kSee) ||
      (watcher.filter && !watcher.filter(*registration))) {
    return nullptr;
  }
  return registration;
}

absl::optional<RegistrationEvent> RegistrationFeed::Core::LookAtChange(Watcher& watcher,
                                                                       const std::string& id) {
  RegistrationEvent event;
  event.id = id;
  event.registration = Visible(watcher, id);
  if (event.registration == nullptr) {
    if (watcher.told.erase(id) == 0) return absl::nullopt;
    event.kind = Kind::kRemoved;
    return event;
  }
  watcher.told.try_emplace(id);
  if (EndingWithinDays(*event.registration, clock_.Now()) > 0) {
    MutexLock lock(mu_);
    Enqueue(watcher, {id, Look::kEnd});
  }
  event.kind = Kind::kCurrent;
  return event;
}

absl::optional<RegistrationEvent> RegistrationFeed::Core::LookAtEnd(Watcher& watcher,
                                                                    const std::string& id) {
  const auto told = watcher.told.find(id);
  if (told == watcher.told.end()) return absl::nullopt;
  RegistrationEvent event;
  event.id = id;
  event.registration = Visible(watcher, id);
  if (event.registration == nullptr) return LookAtChange(watcher, id);
  const absl::Time now = clock_.Now();
  const absl::optional<ExpectedEnd> end = FindExpectedEnd(*event.registration, now);
  const int days = EndingWithinDays(*event.registration, now);
  if (!end.has_value() || days == 0) return absl::nullopt;
  if (told->second.end != end->time) told->second = {end->time, 0};
  const int before = told->second.ending_days;
  if (before != 0 && before <= days) return absl::nullopt;
  told->second.ending_days = days;
  event.kind = Kind::kEnding;
  event.ending_days = days;
  return event;
}

void RegistrationFeed::Core::Enqueue(Watcher& watcher, Entry entry) {
  if (watcher.queued.insert(entry).second) watcher.queue.push_back(std::move(entry));
}

RegistrationFeed::Core::Wakes RegistrationFeed::Core::EnqueueForAll(
    const std::set<std::string>& ids, Look look) {
  Wakes wakes;
  if (ids.empty()) return wakes;
  for (const auto& [number, watcher] : watchers_) {
    for (const std::string& id : ids) Enqueue(*watcher, {id, look});
    if (std::exchange(watcher->idle, false)) wakes.push_back(watcher->wake);
  }
  return wakes;
}

void RegistrationFeed::Core::NoteChange(const std::string& id) {
  {
    MutexLock lock(mu_);
    if (watchers_.empty()) return;
    const bool under_way = !changed_.empty();
    changed_.insert(id);
    if (under_way) return;
  }
  scheduler_.RunAfter(absl::ZeroDuration(), [weak = weak_from_this()] {
    if (const std::shared_ptr<Core> core = weak.lock()) core->SpreadChanges();
  });
}

void RegistrationFeed::Core::SpreadChanges() {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    wakes = EnqueueForAll(std::exchange(changed_, {}), Look::kChange);
  }
  for (const std::function<void()>& wake : wakes) wake();
}

void RegistrationFeed::Core::ScheduleLookForEnds() {
  scheduler_.RunAfter(kLookForEndsEvery, [weak = weak_from_this()] {
    if (const std::shared_ptr<Core> core = weak.lock()) core->LookForEnds();
  });
}

void RegistrationFeed::Core::LookForEnds() {
  const absl::Time now = clock_.Now();
  std::set<std::string> ending;
  for (const Snapshot& one : store_.List()) {
    if (EndingWithinDays(*one, now) > 0) ending.insert(one->id);
  }
  Wakes wakes;
  {
    MutexLock lock(mu_);
    looking_for_ends_ = !watchers_.empty();
    if (!looking_for_ends_) return;
    wakes = EnqueueForAll(ending, Look::kEnd);
  }
  for (const std::function<void()>& wake : wakes) wake();
  ScheduleLookForEnds();
}

void RegistrationFeed::Core::Unwatch(WatchId id) {
  WatcherPtr gone;  // what it captured is destroyed without the lock
  MutexLock lock(mu_);
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  gone = std::move(found->second);
  watchers_.erase(found);
  const auto own = by_account_.find(gone->caller.account());
  if (--own->second == 0) by_account_.erase(own);
}

void RegistrationFeed::Core::Stop() {
  std::map<WatchId, WatcherPtr> watchers;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    watchers.swap(watchers_);
    by_account_.clear();
  }
  for (const auto& [id, watcher] : watchers) watcher->wake();
}

int RegistrationFeed::Core::watchers() const {
  MutexLock lock(mu_);
  return static_cast<int>(watchers_.size());
}

RegistrationFeed::RegistrationFeed(RegistrationStore& store, const AccessPolicy& access,
                                   Scheduler& scheduler, const Clock& clock)
    : core_(std::make_shared<Core>(store, access, scheduler, clock)) {
  store.Observe([weak = std::weak_ptr<Core>(core_)](const std::string& id) {
    if (const std::shared_ptr<Core> core = weak.lock()) core->NoteChange(id);
  });
}

RegistrationFeed::~RegistrationFeed() {
  Stop();
}

absl::StatusOr<RegistrationFeed::WatchId> RegistrationFeed::Watch(const Caller& caller,
                                                                  Filter filter,
                                                                  std::function<void()> wake) {
  return core_->Watch(caller, std::move(filter), std::move(wake));
}

absl::StatusOr<absl::optional<RegistrationEvent>> RegistrationFeed::Next(WatchId id) {
  return core_->Next(id);
}

void RegistrationFeed::Unwatch(WatchId id) {
  core_->Unwatch(id);
}

void RegistrationFeed::Stop() {
  core_->Stop();
}

void RegistrationFeed::NoteChange(const std::string& id) {
  core_->NoteChange(id);
}

int RegistrationFeed::watchers() const {
  return core_->watchers();
}

}  // namespace smartkey
