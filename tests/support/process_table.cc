// SPDX-License-Identifier: Apache-2.0
#include "tests/support/process_table.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"

namespace smartkey {
namespace {

struct Stat {
  ListedProcess process;
  pid_t parent = -1;
};

// proc(5): "pid (name) state ppid ..."; the name may hold anything.
absl::optional<Stat> ReadStat(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  // Not by istreambuf_iterator: of a process that ends meanwhile a filebuf throws, which a stream
  // catches.
  std::string text;
  if (!std::getline(file, text, '\0')) return absl::nullopt;
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return absl::nullopt;
  Stat stat;
  stat.process.pid = pid;
  stat.process.name = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  rest >> stat.process.state >> stat.parent;
  return stat;
}

}  // namespace

std::vector<ListedProcess> ChildrenOf(pid_t parent) {
  std::vector<ListedProcess> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const absl::optional<Stat> stat = ReadStat(pid);
    if (stat.has_value() && stat->parent == parent) children.push_back(stat->process);
  }
  return children;
}

bool IsRunning(pid_t pid) {
  const absl::optional<Stat> stat = ReadStat(pid);
  return stat.has_value() && stat->process.state != 'Z' && stat->process.state != 'X';
}

int CountDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

bool WaitUntil(const std::function<bool()>& condition, absl::Duration limit) {
  const absl::Time give_up = absl::Now() + limit;
  while (!condition()) {
    if (absl::Now() > give_up) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

}  // namespace smartkey
