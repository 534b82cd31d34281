// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/request_slots.h"

#include <utility>

namespace smartkey {

void RequestSlots::Start(const std::string& token_endpoint, absl::AnyInvocable<void()> start) {
  {
    MutexLock lock(mu_);
    Server& server = servers_[token_endpoint];
    if (server.running == most_ || !server.waiting.empty()) {
      server.waiting.push_back(std::move(start));
      return;
    }
    ++server.running;
  }
  start();
}

void RequestSlots::End(const std::string& token_endpoint) {
  // A loop, since a thousand that wait may each end as soon as they are started.
  for (bool first = true;; first = false) {
    absl::AnyInvocable<void()> next;
    {
      MutexLock lock(mu_);
      const auto found = servers_.find(token_endpoint);
      Server& server = found->second;
      if (first) {
        --server.running;
        if (server.starting) return;
      }
      server.starting = server.running < most_ && !server.waiting.empty();
      if (!server.starting) {
        if (server.running == 0) servers_.erase(found);
        return;
      }
      next = std::move(server.waiting.front());
      server.waiting.pop_front();
      ++server.running;
    }
    next();
  }
}

}  // namespace smartkey
