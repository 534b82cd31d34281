// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/scheduler.h"
#include "daemon/model/catalog.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/token_manager.h"

namespace smartkey {

// Suspends registrations that gave nobody a token for longer than a [[policy]] allows (max_idle):
// an access that is forgotten is one that nobody would miss if it leaked. Their owner resumes them.
// The time counts from the last token, the enrollment or the last resumption, whichever was last.
// Looks once an hour. Thread-safe.
class IdleRegistrations {
 public:
  // All of it outlives this and its tasks.
  IdleRegistrations(RegistrationStore& store, const CurrentCatalog& catalog, TokenManager& tokens,
                    Scheduler& scheduler, const Clock& clock);
  ~IdleRegistrations();

  // To be called once, when the store can be read.
  void Start();

 private:
  struct Core;
  const std::shared_ptr<Core> core_;  // outlives this in tasks under way
};

}  // namespace smartkey
