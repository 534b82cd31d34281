// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// SoftHSM2 tokens for one test, in a temporary directory that is gone when this ends. The programs
// softhsm2-util and pkcs11-tool are found by PATH; a missing one is an error, never a reason to
// skip. Not thread-safe.
//
// The module is told by the environment variable SOFTHSM2_CONF where its tokens are, each time that
// it is initialized.
class SoftHsm {
 public:
  // One token, "smartkey", with a user PIN.
  static absl::StatusOr<std::unique_ptr<SoftHsm>> Create();

  ~SoftHsm();
  SoftHsm(const SoftHsm&) = delete;
  SoftHsm& operator=(const SoftHsm&) = delete;

  static std::string module_path() { return "/usr/lib/softhsm/libsofthsm2.so"; }
  std::map<std::string, std::string> environment() const {
    return {{"SOFTHSM2_CONF", directory_ + "/softhsm2.conf"}};
  }
  std::string directory() const { return directory_; }

  static std::string label() { return "smartkey"; }
  std::string uri() const { return "pkcs11:token=" + label(); }
  static std::string pin() { return "test-pin-7142"; }
  // Holds the PIN and can be read by its owner only. The same for as long as this lives.
  std::string pin_file() const { return directory_ + "/pin"; }
  // A file that does not exist yet, in the same directory.
  std::string rejected_pin_file() const { return directory_ + "/rejected-pin"; }

  // Puts another PIN into the file; the token's own stays.
  absl::Status WritePinFile(absl::string_view text, int mode = 0600);
  absl::Status AddToken(const std::string& label);

  // Tokens away from where the module looks, and back. A module that is initialized has them open
  // and does not notice.
  absl::Status Unplug();
  absl::Status PlugIn();
  // A new, empty token of the same label instead of all that are there.
  absl::Status Replace();

  // What `pkcs11-tool --module ... ARGUMENTS` prints, both streams. It sees the tokens as another
  // program does.
  absl::StatusOr<std::string> Pkcs11Tool(const std::vector<std::string>& arguments) const;
  // The same, logged in as the user.
  absl::StatusOr<std::string> Pkcs11ToolLoggedIn(std::vector<std::string> arguments) const;

 private:
  explicit SoftHsm(std::string directory) : directory_(std::move(directory)) {}

  // What a program prints. Errors: it cannot be started, or ends with another code than 0; then the
  // output is the message.
  absl::StatusOr<std::string> Run(const std::vector<std::string>& command) const;

  const std::string directory_;
};

}  // namespace smartkey
