// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace smartkey {

// A program run for a test, with pipes at its three standard files. Ended with SIGKILL when
// destroyed before it ended by itself. Not thread-safe.
class ChildProcess {
 public:
  // `environment` ("A=b") is its whole environment. argv[0] is the program's path. `terminal`: the
  // pseudo terminal that is its standard input and controls it, instead of a pipe.
  ChildProcess(std::vector<std::string> argv, std::vector<std::string> environment,
               const std::string& terminal = "");
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Type(const std::string& text);
  void CloseInput();

  // Its exit code; 128 + signal if one ended it; -1 after 30 seconds.
  int Wait();
  // Whole after Wait().
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  pid_t pid_ = -1;
  UniqueFd in_;
  UniqueFd out_fd_;
  UniqueFd err_fd_;
  std::string out_;
  std::string err_;
  std::thread out_reader_;
  std::thread err_reader_;
};

}  // namespace smartkey
