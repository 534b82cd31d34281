// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace smartkey {

// What /proc says of this machine's processes.

struct ListedProcess {
  pid_t pid = -1;
  std::string name;  // of the program, at most 15 characters
  char state = '?';  // 'Z': a zombie
};
// The children of `parent`, zombies included.
std::vector<ListedProcess> ChildrenOf(pid_t parent);

// Whether there is such a process; a zombie is none.
bool IsRunning(pid_t pid);

// How many descriptors this process has open.
int CountDescriptors();

// Waits until `condition` holds, and asks every few milliseconds. False if it does not in `limit`.
bool WaitUntil(const std::function<bool()>& condition, absl::Duration limit = absl::Seconds(30));

}  // namespace smartkey
