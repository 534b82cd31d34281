// SPDX-License-Identifier: Apache-2.0
#include "tests/daemon/http/resolver_double.h"

#include <dlfcn.h>
#include <netdb.h>

#include <condition_variable>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace {

std::mutex mu;
std::condition_variable changed;
bool hanging = false;
int blocked = 0;

int RealGetaddrinfo(const char* node, const char* service, const addrinfo* hints,
                    addrinfo** result) {
  using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(node, service, hints, result);
}

}  // namespace

// Found before libc's, also by libcurl.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
  const absl::string_view name = node == nullptr ? "" : node;
  if (name == "hang.test") {
    std::unique_lock<std::mutex> lock(mu);
    ++blocked;
    changed.notify_all();
    changed.wait(lock, [] { return !hanging; });
    --blocked;
    changed.notify_all();
    return EAI_AGAIN;
  }
  if (name == "here.test") return RealGetaddrinfo("127.0.0.1", service, hints, result);
  if (absl::EndsWith(name, ".test")) return EAI_NONAME;
  return RealGetaddrinfo(node, service, hints, result);
}

namespace smartkey {

HangingResolver::HangingResolver() {
  const std::lock_guard<std::mutex> lock(mu);
  hanging = true;
}

HangingResolver::~HangingResolver() {
  std::unique_lock<std::mutex> lock(mu);
  hanging = false;
  changed.notify_all();
  changed.wait(lock, [] { return blocked == 0; });
}

void HangingResolver::WaitForLookup() {
  std::unique_lock<std::mutex> lock(mu);
  changed.wait(lock, [] { return blocked > 0; });
}

}  // namespace smartkey
