// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <string>

#include "gtest/gtest.h"
#include "hsm/pkcs11/isolated_pkcs11_module.h"
#include "tests/clients/temp_dir.h"

namespace smartkey {

// Makes this process ready for isolated modules, as the daemon's start does: once, on one thread.
// Returns the socket's path.
inline std::string IsolateModules() {
  static const TempDir directory;
  const std::string path = directory.File("module.sock");
  ::signal(SIGPIPE, SIG_IGN);
  const absl::Status status = IsolatedPkcs11Module::UseSocket(path);
  EXPECT_TRUE(status.ok()) << status;
  return path;
}

}  // namespace smartkey
