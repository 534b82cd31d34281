// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/metrics_server.h"

#include <httplib.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/unique_fd.h"

namespace smartkey {
namespace {

using SteadyClock = std::chrono::steady_clock;

// From a connection's beginning to its end, however much comes by it: the others wait for so long.
constexpr std::chrono::seconds kLimit(2);
constexpr int kAcceptPauseMilliseconds = 100;

// An accepted socket, for httplib, until its time is up or the server ends.
class TimedStream : public httplib::Stream {
 public:
  TimedStream(int socket, int ended)
      : socket_(socket), ended_(ended), limit_(SteadyClock::now() + kLimit) {}

  bool is_readable() const override { return Await(POLLIN); }
  bool is_writable() const override { return Await(POLLOUT); }
  ssize_t read(char* buffer, size_t size) override {
    return Await(POLLIN) ? recv(socket_, buffer, size, 0) : -1;
  }
  // All of it: httplib does not ask how much was taken.
  ssize_t write(const char* text, size_t size) override {
    size_t written = 0;
    while (written < size) {
      if (!Await(POLLOUT)) return -1;
      const ssize_t n = send(socket_, text + written, size - written, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
      if (n > 0) written += static_cast<size_t>(n);
    }
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool Await(short event) const {
    while (true) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(limit_ - SteadyClock::now());
      if (left.count() <= 0) return false;
      pollfd waiting[] = {{socket_, event, 0}, {ended_, POLLIN, 0}};
      if (poll(waiting, std::size(waiting), static_cast<int>(left.count())) < 0) {
        if (errno == EINTR) continue;
        return false;
      }
      if (waiting[1].revents != 0) return false;
      if (waiting[0].revents != 0) return true;
    }
  }

  const int socket_;
  const int ended_;
  const SteadyClock::time_point limit_;
};

}  // namespace

// What httplib does with a connection, one after the other. Its own loop opens TCP sockets only,
// accepts without end, and gives a client that drips its request as long as it likes.
class MetricsServer::Http : private httplib::Server {
 public:
  Http(int listening, std::function<std::string()> text)
      : listening_(listening), ended_(eventfd(0, EFD_CLOEXEC)) {
    set_payload_max_length(1024);
    Get("/metrics", [text = std::move(text)](const httplib::Request&, httplib::Response& answer) {
      answer.set_content(text(), "text/plain; version=0.0.4");
    });
    thread_ = std::thread([this] { Serve(); });
  }
  ~Http() override {
    const uint64_t one = 1;
    (void)!write(ended_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  void Serve() {
    while (true) {
      pollfd waiting[] = {{listening_, POLLIN, 0}, {ended_.get(), POLLIN, 0}};
      poll(waiting, std::size(waiting), -1);
      if (waiting[1].revents != 0) return;
      if (waiting[0].revents == 0) continue;
      const UniqueFd socket(accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) {
        // Out of descriptors: the same connection would be reported again at once.
        poll(&waiting[1], 1, kAcceptPauseMilliseconds);
        continue;
      }
      TimedStream stream(socket.get(), ended_.get());
      Answer(*this, stream);
    }
  }

  // Later versions of httplib (Debian 13) are told the two ends' addresses, which are none here.
  template <typename Self>
  static void Answer(Self& self, TimedStream& stream) {
    bool closed = false;
    if constexpr (requires { self.process_request(stream, true, closed, nullptr); }) {
      self.process_request(stream, /*close_connection=*/true, closed, nullptr);
    } else {
      self.process_request(stream, "", 0, "", 0, /*close_connection=*/true, closed, nullptr);
    }
  }

  const int listening_;
  const UniqueFd ended_;
  std::thread thread_;
};

MetricsServer::MetricsServer(Listener listener, std::function<std::string()> text)
    : listener_(std::move(listener)),
      http_(std::make_unique<Http>(listener_.fd(), std::move(text))) {}

MetricsServer::~MetricsServer() = default;

}  // namespace smartkey
