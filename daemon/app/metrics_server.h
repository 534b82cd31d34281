// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/rpc/listener.h"

namespace smartkey {

// Serves `GET /metrics` by HTTP on a unix socket, on a thread of its own. Whoever may open the
// socket may read them. Takes one connection after the other, each for two seconds at most; the
// others wait in the kernel and cost no descriptor here.
class MetricsServer {
 public:
  // `text` is called for each request, on that thread.
  MetricsServer(Listener listener, std::function<std::string()> text);
  ~MetricsServer();

 private:
  class Http;

  const Listener listener_;
  const std::unique_ptr<Http> http_;
};

}  // namespace smartkey
