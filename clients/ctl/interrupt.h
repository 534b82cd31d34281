// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include "base/unique_fd.h"

namespace smartkey::ctl {

// While it lives, Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP) do not end the process but
// make `fd` readable, so that what was begun can be cancelled. Make it before the first thread, which inherits the mask.
class Interrupt {
 public:
  Interrupt() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
    fd_.reset(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  // Takes a pending signal away first: it has been acted upon.
  ~Interrupt() {
    Clear();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int fd() const { return fd_.get(); }

  // So that a second Ctrl-C can be told from the first.
  void Clear() {
    signalfd_siginfo info;
    while (read(fd_.get(), &info, sizeof(info)) > 0) {
    }
  }

 private:
  sigset_t before_;
  UniqueFd fd_;
};

}  // namespace smartkey::ctl
