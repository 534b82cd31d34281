// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace smartkey {

// Something wrong in a configuration file.
struct ConfigProblem {
  std::string file;
  int line = 0;  // 0: about the file as a whole
  std::string message;

  std::string ToString() const;  // "file:line: message"
};

// The configuration in force, as far as people ask about it.
struct ConfigState {
  absl::Time loaded_at;
  // Of drop-ins; the blocks of such a file are not in force.
  std::vector<ConfigProblem> problems;
  // Why the last reload failed: mistakes in the main file as it was then. smartkeyd would not start
  // with it. Empty: it did not fail.
  std::vector<ConfigProblem> reload_errors;
};

// What a reload did, in sentences for people.
struct ConfigReload {
  std::vector<std::string> changes;        // in force now
  std::vector<std::string> needs_restart;  // keys whose value in the files is not the one in force
  std::vector<ConfigProblem> problems;     // as in ConfigState
};

// Reads the configuration again. Thread-safe.
class ConfigReloader {
 public:
  virtual ~ConfigReloader() = default;

  // Calls `done` on another thread. Errors: kConfigInvalid, for mistakes in the main file: all is
  // as it was before.
  virtual void Reload(absl::AnyInvocable<void(absl::StatusOr<ConfigReload>)> done) = 0;

  virtual ConfigState state() const = 0;
};

}  // namespace smartkey
