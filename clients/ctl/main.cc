// SPDX-License-Identifier: Apache-2.0
// smartkeyctl: what a person or a script says to smartkeyd. See README.md beside this file.

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "clients/ctl/command_line.h"
#include "clients/ctl/terminal_text.h"

int main(int argc, char** argv) {
  // A closed pipe is an error of the write, with an exit code and a sentence.
  std::signal(SIGPIPE, SIG_IGN);
  smartkey::ctl::UseLocale();
  return smartkey::ctl::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), std::cout,
                                       std::cerr);
}
