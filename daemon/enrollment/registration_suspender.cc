// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/registration_suspender.h"

#include <functional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "daemon/model/registration_name.h"

namespace smartkey {

namespace {

// What a change says when there is nothing to write down; stores never answer so themselves.
absl::Status NothingToChange() {
  return MakeError(Reason::kCancelled, "it is so already");
}

absl::Status SuspendedByAdministrator() {
  return WithRemedy(MakeError(Reason::kNotPermitted, "an administrator suspended it"),
                    "ask the administrator to resume it");
}

absl::Status Apply(const Suspension& wanted, Registration& registration) {
  const absl::optional<Suspension>& now = registration.suspension;
  if (now.has_value() && (now->by_administrator || !wanted.by_administrator)) {
    return NothingToChange();
  }
  registration.suspension = wanted;
  return absl::OkStatus();
}

absl::Status Lift(bool by_administrator, absl::Time now, Registration& registration) {
  if (!registration.suspension.has_value()) return NothingToChange();
  if (registration.suspension->by_administrator && !by_administrator) {
    return SuspendedByAdministrator();
  }
  registration.suspension.reset();
  registration.resumed_at = now;
  return absl::OkStatus();
}

}  // namespace

struct RegistrationSuspender::Order {
  Caller caller;
  bool suspend = false;
  std::vector<std::string> left;  // ids, the next one last
  std::function<absl::Status(Registration&)> change;
  Resumed outcome;
  OnChanged on_changed;
  absl::AnyInvocable<void(absl::Status, Resumed)> done;
};

void RegistrationSuspender::Suspend(const Caller& caller, const RegistrationTarget& target,
                                    std::string why, SuspendDone done, OnChanged on_changed) {
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> selected =
      access_.Select(caller, target);
  if (!selected.ok()) return done(selected.status());
  if (absl::Status status = CheckWhy(why); !status.ok()) return done(status);
  Suspension suspension;
  suspension.by_uid = caller.uid;
  suspension.by_name = caller.user_name;
  suspension.by_administrator = caller.admin;
  suspension.why = std::move(why);
  suspension.since = clock_.Now();

  auto order = std::make_shared<Order>();
  order->caller = caller;
  order->suspend = true;
  order->on_changed = std::move(on_changed);
  for (auto it = selected->rbegin(); it != selected->rend(); ++it) order->left.push_back((*it)->id);
  order->change = [suspension = std::move(suspension)](Registration& registration) {
    return Apply(suspension, registration);
  };
  order->done = [done = std::move(done)](absl::Status status, Resumed changed) mutable {
    if (!status.ok()) return done(status);
    done(std::move(changed.ids));
  };
  ChangeNext(std::move(order));
}

void RegistrationSuspender::Resume(const Caller& caller, const RegistrationTarget& target,
                                   ResumeDone done, OnChanged on_changed) {
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> selected =
      access_.Select(caller, target);
  if (!selected.ok()) return done(selected.status());
  if (absl::Status status = access_.CheckWritable(caller); !status.ok()) return done(status);
  auto order = std::make_shared<Order>();
  order->caller = caller;
  order->on_changed = std::move(on_changed);
  for (auto it = selected->rbegin(); it != selected->rend(); ++it) order->left.push_back((*it)->id);
  order->change = [admin = caller.admin, now = clock_.Now()](Registration& registration) {
    return Lift(admin, now, registration);
  };
  const bool one = target.kind == RegistrationTarget::Kind::kRegistration;
  order->done = [this, caller, one, done = std::move(done)](absl::Status status,
                                                            Resumed resumed) mutable {
    if (!status.ok()) return done(status);
    if (one && !resumed.still_suspended.empty()) {
      return done(access_.Noted(SuspendedByAdministrator(), caller,
                                OperationName(Operation::kManage), resumed.still_suspended[0]));
    }
    done(std::move(resumed));
  };
  ChangeNext(std::move(order));
}

void RegistrationSuspender::ChangeNext(std::shared_ptr<Order> order) {
  if (order->left.empty()) return order->done(absl::OkStatus(), std::move(order->outcome));
  const std::string id = std::move(order->left.back());
  order->left.pop_back();
  store_.Update(
      id,
      [this, order](Registration& registration) {
        // Who had the right when it was ordered may have lost it in between.
        const absl::Status still =
            access_.Noted(access_.Check(order->caller, registration, Operation::kManage),
                          order->caller, OperationName(Operation::kManage), registration.id);
        if (!still.ok()) return NothingToChange();
        return order->change(registration);
      },
      [this, order, id](absl::StatusOr<RegistrationStore::Snapshot> changed) {
        switch (ReasonOf(changed.status())) {
          case Reason::kUnspecified:  // OK
            // On the store's thread, before any later change: what comes from here on sees the
            // record.
            if (order->suspend) tokens_.Forget(id);
            Log(LogLevel::kInfo, order->suspend ? "registration suspended" : "registration resumed",
                {{"registration", id},
                 {"uid", order->caller.uid},
                 {"administrator", order->caller.admin ? "yes" : "no"}});
            if (order->on_changed) order->on_changed(id);
            order->outcome.ids.push_back(id);
            break;
          case Reason::kCancelled:             // so already
          case Reason::kRegistrationNotFound:  // deleted meanwhile
            break;
          case Reason::kNotPermitted:
            order->outcome.still_suspended.push_back(id);
            break;
          default:
            return order->done(changed.status(), Resumed());
        }
        ChangeNext(order);
      });
}

}  // namespace smartkey
