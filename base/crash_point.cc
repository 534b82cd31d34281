// SPDX-License-Identifier: Apache-2.0
// Alone in its file: a program that has a CrashPoint of its own does not take this one from the
// library.
#include "base/crash_point.h"

namespace smartkey {

void CrashPoint(const char*) {}

}  // namespace smartkey
