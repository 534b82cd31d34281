// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "tests/hsm/pkcs11/isolation.h"
#include "tests/support/process_table.h"

namespace smartkey {

// What befalls modules in processes of their own when their hardware goes: those processes end.
inline void KillModuleProcesses() {
  for (const ListedProcess& child : ChildrenOf(::getpid())) {
    if (absl::StartsWith(child.name, "p11-kit")) ::kill(child.pid, SIGKILL);
  }
}

}  // namespace smartkey
