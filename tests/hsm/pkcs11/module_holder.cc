// SPDX-License-Identifier: Apache-2.0
// Loads the module MODULE through the socket SOCKET, prints a line and waits for its end: a daemon
// to be killed. Usage: module_holder MODULE SOCKET [NAME=VALUE]...
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "hsm/pkcs11/isolated_pkcs11_module.h"

int main(int argc, char** argv) {
  using smartkey::IsolatedPkcs11Module;
  if (argc < 3) return 2;
  ::signal(SIGPIPE, SIG_IGN);
  IsolatedPkcs11Module::Options options = {.path = argv[1]};
  for (int i = 3; i < argc; ++i) {
    const std::string entry = argv[i];
    options.environment[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  absl::Status status = IsolatedPkcs11Module::UseSocket(argv[2]);
  IsolatedPkcs11Module module(options);
  absl::StatusOr<CK_FUNCTION_LIST*> functions = nullptr;
  if (status.ok()) functions = module.Load();
  if (status.ok()) status = functions.status();
  std::cout << status << std::endl;
  CK_ULONG count = 0;
  if (status.ok()) (*functions)->C_GetSlotList(CK_TRUE, nullptr, &count);
  for (;;) ::pause();
}
