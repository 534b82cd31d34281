// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/app/config.h"
#include "daemon/model/config_reload.h"

namespace smartkey {

// Reads the configuration again and puts the apps and servers it names in force, all of them or
// none. What else it holds counts at the next start.
//
// Files may be slow to read, and threads that answer calls must not wait for them: all reloads run
// on one thread of the owner's, those asked for meanwhile together.
class ConfigReloads : public ConfigReloader {
 public:
  using Swapped = std::function<void(const Catalog& before, const Catalog& after)>;

  // `started` was read from `main_file` and is in force. `wake` is to have Run() called soon by the
  // owner's thread; it must not block. `swapped` is called by Run() when apps or servers are others
  // than before. `catalog` and `clock` outlive this.
  ConfigReloads(std::string main_file, const Config& started, CurrentCatalog& catalog,
                const Clock& clock, std::function<void()> wake, Swapped swapped);

  void Reload(absl::AnyInvocable<void(absl::StatusOr<ConfigReload>)> done) override;
  ConfigState state() const override;

  // Reloads, says in the journal what came of it, and tells everybody who has asked until now. By
  // one thread at a time.
  void Run();

 private:
  using Done = absl::AnyInvocable<void(absl::StatusOr<ConfigReload>)>;

  absl::StatusOr<ConfigReload> Read();

  const std::string main_file_;
  const Config started_;
  CurrentCatalog& catalog_;
  const Clock& clock_;
  const std::function<void()> wake_;
  const Swapped swapped_;

  Config current_;  // touched by Run alone

  mutable Mutex mu_;
  ConfigState state_ ABSL_GUARDED_BY(mu_);
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
