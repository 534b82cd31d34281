// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace smartkey {

// A place between two steps of which each changes something for good: a file, the hardware, the
// server. Here a kill, or a disk that fills up, is at its most awkward. `name`, a literal, says
// whose step has just been done: "enrollment.registering".
//
// Does nothing. Only a daemon that tests build for it dies or stops here (tests/support/crash_at.cc
// takes this function's place when that program is linked); nothing in the one that is installed
// can be told to. Thread-safe.
void CrashPoint(const char* name);

}  // namespace smartkey
