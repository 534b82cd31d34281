// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>

#include "base/unique_fd.h"

namespace smartkey::ctl {

// A flag that poll() can wait for: readable once it was set, and from then on. Thread-safe.
class EventFd {
 public:
  EventFd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void Set() { eventfd_write(fd_.get(), 1); }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace smartkey::ctl
