// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "hsm/pkcs11/pkcs11_module.h"

namespace smartkey {

// A PKCS#11 module inside this process: fast, and with its hangs and crashes being ours.
//
// A module has one state for the whole process (PKCS#11 v2.40 section 5.4): however many of these
// there are for one file, C_Initialize is called for the first, C_Finalize after the last, and not
// at all if somebody else had initialized it before. Once in, a file is never unmapped: modules
// leave exit handlers and threads behind. So between two of these, Load does not start the module
// afresh; that is what IsolatedPkcs11Module is for.
//
// Each object is used by one thread, as Pkcs11Module; several objects by several.
class InProcessPkcs11Module : public Pkcs11Module {
 public:
  struct Options {
    std::string path;       // absolute: what is loaded into a daemon is nobody's search path
    std::string init_args;  // handed to C_Initialize (pReserved), as NSS wants it; empty: none
    // Set with setenv before loading, for modules that are configured so. Only for programs that
    // have no second thread yet (setenv(3)).
    std::map<std::string, std::string> environment;
  };

  explicit InProcessPkcs11Module(Options options);
  ~InProcessPkcs11Module() override;

  // Errors: kConfigInvalid (`path` is not absolute), kHardwareAbsent (it cannot be loaded, or is no
  // PKCS#11 module), what C_Initialize answers.
  absl::StatusOr<CK_FUNCTION_LIST*> Load() override;
  void Unload() override;

 private:
  // What all of a file share.
  struct Shared;
  static absl::StatusOr<std::shared_ptr<Shared>> Find(const std::string& path);

  const Options options_;
  std::shared_ptr<Shared> shared_;  // null: not loaded
};

}  // namespace smartkey
