// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include "absl/status/statusor.h"

namespace smartkey {

// A vendor's PKCS#11 module, and where it runs: in this process (InProcessPkcs11Module) or in one of
// its own (IsolatedPkcs11Module), which can be killed when it hangs and cannot read our memory.
//
// Not thread-safe but for Interrupt: the key provider's thread makes every call, also those into the
// function list. Unloads when destroyed.
class Pkcs11Module {
 public:
  virtual ~Pkcs11Module() = default;

  // Loads the module and calls C_Initialize; starts over if it is loaded. The function list is valid
  // until the next Load or Unload.
  // Errors: kHardwareAbsent (no such module, or it cannot be started), kHardwareDegraded (it is
  // there and does not initialize).
  virtual absl::StatusOr<CK_FUNCTION_LIST*> Load() = 0;

  // C_Finalize, where that is ours to call. Nothing happens if it is not loaded.
  virtual void Unload() = 0;

  // Makes calls into the module return, if that is possible, also a Load that is under way. Any
  // thread may call it at any time.
  virtual void Interrupt() {}
};

}  // namespace smartkey
