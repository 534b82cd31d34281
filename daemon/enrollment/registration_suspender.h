// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "daemon/access/access_policy.h"
#include "daemon/model/caller.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/token_manager.h"

namespace smartkey {

// Switches registrations off and on again, at the word of their owner or of an administrator.
//
// Off means: no token, no assertion, whatever the state is. Each registration is off from the
// moment it is written down: cached tokens are wiped then, and a token that is on its way is
// dropped when it comes. What an administrator has switched off only an administrator switches on;
// his word takes the place of the owner's if both have said it. Nothing at the server changes.
// Thread-safe; asynchronous.
class RegistrationSuspender {
 public:
  struct Resumed {
    std::vector<std::string> ids;              // that are on again
    std::vector<std::string> still_suspended;  // by an administrator, whom the caller is not
  };
  using SuspendDone = absl::AnyInvocable<void(absl::StatusOr<std::vector<std::string>>)>;
  using ResumeDone = absl::AnyInvocable<void(absl::StatusOr<Resumed>)>;
  // Runs for each that was changed as soon as it is, however the order ends; on the store's thread.
  using OnChanged = std::function<void(const std::string& id)>;

  RegistrationSuspender(RegistrationStore& store, const AccessPolicy& access, TokenManager& tokens,
                        const Clock& clock)
      : store_(store), access_(access), tokens_(tokens), clock_(clock) {}

  // `done` runs exactly once, with the ids of those that changed: off now and not before, or off by
  // an administrator now and by the owner before. Errors: those of AccessPolicy::Select,
  // kInvalidArgument for a `why` that is too long, kStoreUnavailable: those before the one that
  // could not be written down are off, and the same call goes on from there.
  void Suspend(const Caller& caller, const RegistrationTarget& target, std::string why,
               SuspendDone done, OnChanged on_changed = nullptr);

  // The reverse. Errors: the same, and kNotPermitted if the one registration named was suspended by
  // an administrator.
  void Resume(const Caller& caller, const RegistrationTarget& target, ResumeDone done,
              OnChanged on_changed = nullptr);

 private:
  struct Order;

  // Changes one registration after the other.
  void ChangeNext(std::shared_ptr<Order> order);

  RegistrationStore& store_;
  const AccessPolicy& access_;
  TokenManager& tokens_;
  const Clock& clock_;
};

}  // namespace smartkey
