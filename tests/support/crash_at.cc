// SPDX-License-Identifier: Apache-2.0
// What CrashPoint does in a daemon that tests build: what the file named by SMARTKEY_CRASH_ORDERS
// says, looked at each time, so that a test can give its order while the daemon runs.
//
//   kill NAME N    the process is killed when it comes to the crash point NAME for the Nth time
//   stop NAME N    it is stopped there until SIGCONT
//   trace          neither
//
// With any of these each crash point that is passed is added as a line to ORDERS.trace, from which
// the Nth is counted, so that a restart goes on counting. No file: nothing.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/crash_point.h"
#include "base/mutex.h"

namespace smartkey {
namespace {

Mutex passing;

int CountInTrace(const std::string& trace, const std::string& name) {
  std::ifstream file(trace);
  int count = 0;
  for (std::string line; std::getline(file, line);) count += line == name ? 1 : 0;
  return count;
}

void AddToTrace(const std::string& trace, const std::string& name) {
  const int file = open(trace.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  const std::string line = name + "\n";
  if (file < 0 || write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    abort();  // a test that counts wrong shows nothing
  }
  close(file);
}

}  // namespace

void CrashPoint(const char* name) {
  static const char* const orders = getenv("SMARTKEY_CRASH_ORDERS");
  if (orders == nullptr) return;
  MutexLock lock(passing);
  std::string how;
  std::string where;
  int nth = 0;
  std::ifstream file(orders);
  if (!(file >> how)) return;
  file >> where >> nth;
  const std::string trace = std::string(orders) + ".trace";
  AddToTrace(trace, name);
  if (where != name || CountInTrace(trace, name) != nth) return;
  // raise(): of the process's threads this one is to stop here, and not any one that comes first.
  raise(how == "kill" ? SIGKILL : SIGSTOP);
}

}  // namespace smartkey
