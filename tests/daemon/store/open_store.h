// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "daemon/store/sqlite/sqlite_registration_store.h"

namespace smartkey {

// The store of a directory whose database can be read. Errors: as Open(), and availability().
inline absl::StatusOr<std::unique_ptr<SqliteRegistrationStore>> OpenStore(
    const std::string& state_dir) {
  static const SystemClock clock;
  auto store = SqliteRegistrationStore::Open({.state_dir = state_dir}, clock);
  if (!store.ok()) return store;
  if (absl::Status status = (*store)->availability(); !status.ok()) return status;
  return store;
}

}  // namespace smartkey
