// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/metrics_server.h"

#include <fcntl.h>
#include <httplib.h>

#include <thread>
#include <utility>

namespace smartkey {

// httplib opens TCP sockets only; what it does with an accepted one is the same for all kinds.
class MetricsServer::Http : private httplib::Server {
 public:
  Http(int listening, std::function<std::string()> text) {
    // Whoever says nothing keeps the others waiting, for so long.
    set_read_timeout(2);
    set_write_timeout(2);
    set_keep_alive_max_count(1);
    set_payload_max_length(1024);
    new_task_queue = [] { return new httplib::ThreadPool(1); };
    Get("/metrics", [text = std::move(text)](const httplib::Request&, httplib::Response& answer) {
      answer.set_content(text(), "text/plain; version=0.0.4");
    });
    // httplib accepts without asking whether somebody is there, and closes what it was given.
    const int own = fcntl(listening, F_DUPFD_CLOEXEC, 3);
    fcntl(own, F_SETFL, fcntl(own, F_GETFL) & ~O_NONBLOCK);
    svr_sock_ = own;
    thread_ = std::thread([this] { listen_after_bind(); });
  }
  ~Http() override {
    while (!is_running()) std::this_thread::yield();
    stop();
    thread_.join();
  }

 private:
  std::thread thread_;
};

MetricsServer::MetricsServer(Listener listener, std::function<std::string()> text)
    : listener_(std::move(listener)),
      http_(std::make_unique<Http>(listener_.fd(), std::move(text))) {}

MetricsServer::~MetricsServer() = default;

}  // namespace smartkey
