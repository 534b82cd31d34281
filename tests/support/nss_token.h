// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace smartkey {

// NSS's software token for one test: a database made by certutil (found by PATH; a missing one is
// an error, never a reason to skip) in a temporary directory that is gone when this ends. Not
// thread-safe.
//
// The module is told where by an argument of C_Initialize, and by nothing else.
class NssToken {
 public:
  // A new, empty database with a PIN.
  static absl::StatusOr<std::unique_ptr<NssToken>> Create();

  ~NssToken();
  NssToken(const NssToken&) = delete;
  NssToken& operator=(const NssToken&) = delete;

  static std::string module_path();
  std::string init_args() const;
  // Only to be quick: 10,000 rounds for each key that is stored are for real secrets.
  static std::map<std::string, std::string> environment() {
    return {{"NSS_MAX_MP_PBE_ITERATION_COUNT", "1"}};
  }
  // The module has a second token, without a PIN or keys, for its own purposes.
  static std::string uri() { return "pkcs11:token=smartkey"; }
  static std::string pin() { return "test-pin-7142"; }
  std::string pin_file() const { return directory_ + "/pin"; }
  std::string rejected_pin_file() const { return directory_ + "/rejected-pin"; }

  // The database away, and back. A module that is initialized has it open and does not notice.
  absl::Status Unplug();
  absl::Status PlugIn();
  // A new, empty one where it was.
  absl::Status Replace();

 private:
  explicit NssToken(std::string directory) : directory_(std::move(directory)) {}

  std::string database() const { return directory_ + "/db"; }
  absl::Status MakeDatabase() const;

  const std::string directory_;
};

}  // namespace smartkey
