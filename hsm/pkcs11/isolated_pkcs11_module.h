// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "hsm/pkcs11/module_process.h"
#include "hsm/pkcs11/p11_kit_client.h"
#include "hsm/pkcs11/pkcs11_module.h"

namespace smartkey {

// A vendor's PKCS#11 module in a process of its own. It cannot read our memory, its crash is an
// error of one call (CKR_DEVICE_ERROR, from then on until the next Load), and Interrupt ends it
// when it hangs. Each Load starts it afresh.
//
// The process is `p11-kit remote MODULE` on the other end of a unix socket, p11-kit-client.so makes
// calls into messages. It serves us alone, and all tokens of the module: which one is meant is the
// provider's business. Not `p11-kit server`, which would put the module into a grandchild: one that
// hangs stays behind when the server, or the daemon, is killed.
//
// UseSocket comes first, at the program's start, and SIGPIPE must be ignored. The process ends with
// the thread that called Load, so that thread must be the one that uses the module, as
// Pkcs11Module says. Calls into it are serial, whatever the threads.
class IsolatedPkcs11Module : public Pkcs11Module {
 public:
  struct Options {
    std::string path;                                // of the module, absolute
    std::string init_args;                           // as InProcessPkcs11Module's
    std::map<std::string, std::string> environment;  // of its process, which inherits none of ours
    // How long C_Initialize may take, and C_Finalize with the process's end, before it is killed.
    absl::Duration start_limit = absl::Seconds(30);
    absl::Duration end_limit = absl::Seconds(2);
    std::string program = "/usr/bin/p11-kit";
    std::string client_module = P11KitClient::DefaultModule();
  };

  // Where all modules of this process are met: a path in a directory that is ours alone. Sets an
  // environment variable, hence before there is a second thread. Errors: kConfigInvalid.
  static absl::Status UseSocket(const std::string& path) { return P11KitClient::UseSocket(path); }

  explicit IsolatedPkcs11Module(Options options) : options_(std::move(options)) {}
  ~IsolatedPkcs11Module() override { Unload(); }

  // Errors: kConfigInvalid (`path` is not absolute), kHardwareAbsent (no such file, no PKCS#11
  // module, p11-kit is not installed), kHardwareDegraded (it crashed, hung, or was interrupted),
  // what C_Initialize answers.
  absl::StatusOr<CK_FUNCTION_LIST*> Load() override;

  // C_Finalize, then the end of the process, which is killed if either takes longer than end_limit.
  void Unload() override;

  // Kills the process: a call under way returns CKR_DEVICE_ERROR, a Load kHardwareDegraded.
  void Interrupt() override { process_.Kill(); }

 private:
  absl::Status Start();
  absl::Status WhyItEnded(CK_RV rv);

  const Options options_;
  std::unique_ptr<P11KitClient> client_;  // from the first Load on
  ModuleProcess process_;
  bool initialized_ = false;
};

}  // namespace smartkey
