// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/swtpm.h"
#include "tests/support/tpm_resource_manager.h"

namespace smartkey {

// A token of tpm2-pkcs11 for one test: a store made by tpm2_ptool, on a TPM of its own behind a
// resource manager, all gone when this ends. Programs are found by PATH; a missing one is an error,
// never a reason to skip. Not thread-safe.
//
// The module is told by environment() where everything is.
class Tpm2Pkcs11Token {
 public:
  // One token, "smartkey", with a user PIN.
  static absl::StatusOr<std::unique_ptr<Tpm2Pkcs11Token>> Create();

  ~Tpm2Pkcs11Token();
  Tpm2Pkcs11Token(const Tpm2Pkcs11Token&) = delete;
  Tpm2Pkcs11Token& operator=(const Tpm2Pkcs11Token&) = delete;

  static std::string module_path();
  std::map<std::string, std::string> environment() const;
  static std::string uri() { return "pkcs11:token=smartkey"; }
  static std::string pin() { return "test-pin-7142"; }
  std::string pin_file() const { return directory_ + "/pin"; }
  std::string rejected_pin_file() const { return directory_ + "/rejected-pin"; }

  // Ends TPM and resource manager, and starts them again. The store stays.
  void Unplug();
  absl::Status PlugIn();
  // Another TPM with another store.
  absl::Status Replace();

 private:
  explicit Tpm2Pkcs11Token(std::string directory) : directory_(std::move(directory)) {}

  std::string store() const { return directory_ + "/store"; }
  absl::Status MakeStore() const;

  const std::string directory_;
  std::unique_ptr<Swtpm> tpm_;
  std::unique_ptr<TpmResourceManager> manager_;
};

}  // namespace smartkey
