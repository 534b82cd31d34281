// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/token_keeper.h"

#include <limits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/token/token_region.h"

namespace smartkey {

namespace {

constexpr char kName[] = "smartkeyd-tokens";

// Whose tokens they are. Their times count from the start of the machine, and in a time namespace
// from whatever that says (time_namespaces(7)).
std::string Owner(const std::string& instance_id) {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot_id;
  std::getline(file, boot_id);
  char time[PATH_MAX];
  const ssize_t size = readlink("/proc/self/ns/time", time, sizeof time);
  return absl::StrCat(boot_id, " ", absl::string_view(time, size > 0 ? size : 0), " ", instance_id);
}

// sd_notify(3): no answer comes, also when nothing is stored.
void Notify(const std::string& message, const int* fd) {
  const int sent = sd_pid_notify_with_fds(0, 0, message.c_str(), fd, fd == nullptr ? 0 : 1);
  if (sent < 0) {
    Log(LogLevel::kWarning, "the service manager cannot be told of the memory of tokens",
        {{"error", strerror(-sent)}});
  }
}

}  // namespace

TokenKeeper::TokenKeeper(std::vector<InheritedFd>& inherited) {
  for (InheritedFd& one : inherited) {
    if (one.name == kName) inherited_.push_back(std::move(one.fd));
  }
  std::erase_if(inherited, [](const InheritedFd& one) { return one.name == kName; });
}

void TokenKeeper::Start(TokenManager& tokens, const std::string& instance_id) {
  if (std::exchange(started_, true)) return;
  const std::string owner = Owner(instance_id);
  std::unique_ptr<TokenRegion> region;
  bool is_the_only_one = !inherited_.empty();
  for (UniqueFd& fd : inherited_) {
    absl::StatusOr<std::unique_ptr<TokenRegion>> found = TokenRegion::Adopt(std::move(fd), owner);
    if (found.ok() && region == nullptr) {
      region = *std::move(found);
      continue;
    }
    is_the_only_one = false;
    Log(LogLevel::kWarning, "memory of tokens from the service manager is not used",
        {{"reason", found.ok() ? "there is another" : found.status().message()}});
  }
  if (region == nullptr) {
    absl::StatusOr<std::unique_ptr<TokenRegion>> made = TokenRegion::Create(owner);
    if (!made.ok()) {
      Log(LogLevel::kWarning, "tokens will not outlive this process",
          {{"error", made.status().message()}});
      return;
    }
    region = *std::move(made);
  }
  if (!is_the_only_one) {
    if (!inherited_.empty()) Notify(absl::StrCat("FDSTOREREMOVE=1\nFDNAME=", kName), nullptr);
    // FDPOLL=0: there is nothing to be polled at memory.
    const int fd = region->fd();
    Notify(absl::StrCat("FDSTORE=1\nFDPOLL=0\nFDNAME=", kName), &fd);
  }
  inherited_.clear();
  tokens.KeepTokensIn(std::move(region));
}

}  // namespace smartkey
