// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/idle_registrations.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLookEvery = absl::Hours(1);

absl::Time LastUse(const Registration& registration) {
  absl::Time last = std::max(registration.created_at, registration.resumed_at);
  for (const Generation& one : registration.generations) {
    last = std::max({last, one.last_token_at, one.created_at});
  }
  return last;
}

// The policy by which it has been idle for too long; null: it has not.
const Policy* FindExceeded(const Catalog& catalog, const Registration& registration,
                           absl::Time now) {
  if (registration.suspension.has_value() || registration.serving() == nullptr) return nullptr;
  for (const Policy& one : catalog.policies) {
    if (one.max_idle == absl::InfiniteDuration()) continue;
    if (!one.IsOf(catalog.ServerNameOf(registration), registration.app_id)) continue;
    if (now - LastUse(registration) > one.max_idle) return &one;
  }
  return nullptr;
}

}  // namespace

struct IdleRegistrations::Core : std::enable_shared_from_this<Core> {
  Core(RegistrationStore& store, const CurrentCatalog& catalog, TokenManager& tokens,
       Scheduler& scheduler, const Clock& clock)
      : store(store), catalog(catalog), tokens(tokens), scheduler(scheduler), clock(clock) {}

  void Look() {
    const std::shared_ptr<const Catalog> now_in_force = catalog.Get();
    for (const RegistrationStore::Snapshot& one : store.List()) {
      if (FindExceeded(*now_in_force, *one, clock.Now()) != nullptr) SuspendIt(one->id);
    }
    scheduler.RunAfter(kLookEvery, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Look();
    });
  }

  // What cannot be written now is tried again at the next look.
  void SuspendIt(const std::string& id) {
    store.Update(
        id,
        [self = shared_from_this()](Registration& registration) -> absl::Status {
          const absl::Time now = self->clock.Now();
          const std::shared_ptr<const Catalog> in_force = self->catalog.Get();
          const Policy* policy = FindExceeded(*in_force, registration, now);
          if (policy == nullptr) return MakeError(Reason::kCancelled, "it has been used meanwhile");
          Suspension suspension;
          suspension.by_name = "the configuration";
          suspension.why =
              absl::StrCat("not used for ", absl::ToInt64Hours(now - LastUse(registration)) / 24,
                           " days: max_idle in ", Printable(policy->place, 120));
          suspension.since = now;
          registration.suspension = std::move(suspension);
          return absl::OkStatus();
        },
        [self = shared_from_this(), id](absl::StatusOr<RegistrationStore::Snapshot> updated) {
          if (!updated.ok()) return;
          // On the store's thread, before any later change, as for every suspension.
          self->tokens.Forget(id);
          Log(LogLevel::kInfo, "registration suspended: not used for longer than the policy allows",
              {{"registration", id}});
        });
  }

  RegistrationStore& store;
  const CurrentCatalog& catalog;
  TokenManager& tokens;
  Scheduler& scheduler;
  const Clock& clock;
};

IdleRegistrations::IdleRegistrations(RegistrationStore& store, const CurrentCatalog& catalog,
                                     TokenManager& tokens, Scheduler& scheduler, const Clock& clock)
    : core_(std::make_shared<Core>(store, catalog, tokens, scheduler, clock)) {}

IdleRegistrations::~IdleRegistrations() = default;

void IdleRegistrations::Start() {
  core_->Look();
}

}  // namespace smartkey
