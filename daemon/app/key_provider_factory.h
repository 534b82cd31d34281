// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "daemon/app/config.h"
#include "hsm/key_worker.h"

namespace smartkey {

// What has to be done in a process with one thread, before the factory: environment variables that
// libraries read. A module in a process of its own (`isolation = "process"`) is met at a socket in
// the state directory, which is the service's alone. Call it once. Errors: kConfigInvalid.
absl::Status PrepareProcessForKeyProvider(const Config& config);

// Makes the configured key provider, not opened. `instance_id` is in the labels of the keys that a
// token stores. Errors: kConfigInvalid.
absl::StatusOr<KeyWorker::ProviderFactory> MakeKeyProviderFactory(const Config& config,
                                                                  const std::string& instance_id);

}  // namespace smartkey
