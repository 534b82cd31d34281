// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "tests/support/test_certificates.h"

namespace smartkey {

// One request as it came in.
struct TestHttpRequest {
  int connection = 0;  // counts up from 1
  std::string method, target, body;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case

  std::string Header(absl::string_view name) const;  // empty: none
  bool HasHeader(absl::string_view name) const;
};

// What a handler may do with a connection. Used by the handler's thread.
class TestHttpConnection {
 public:
  TestHttpConnection(int fd, SSL* ssl) : fd_(fd), ssl_(ssl) {}

  // False when the other side is gone.
  bool Write(absl::string_view bytes);
  // A well-formed answer with Content-Length.
  bool Answer(int status, absl::string_view body,
              absl::string_view content_type = "application/json",
              absl::string_view more_headers = "");
  // The handler's word that the connection is over; what was not read is thrown away.
  void Close() { closed_ = true; }
  // Waits until the other side has gone or the server stops.
  void WaitForEnd();
  // Turns the connection into a tunnel to 127.0.0.1:port, as a proxy does.
  void TunnelTo(int port);

  size_t bytes_written() const { return written_; }
  bool closed() const { return closed_; }

 private:
  friend class TestHttpServer;
  long Read(char* buffer, size_t size);

  const int fd_;
  SSL* const ssl_;  // null: plain
  size_t written_ = 0;
  bool closed_ = false;
};

// A server on a free port of 127.0.0.1, with a thread for each connection: for answers that are
// wrong, late or missing. It reads one request after the other (Content-Length bodies) and has the
// handler answer. Without TLS unless a certificate is given. The destructor ends all connections
// and waits for the handlers.
class TestHttpServer {
 public:
  using Handler = std::function<void(const TestHttpRequest&, TestHttpConnection&)>;

  explicit TestHttpServer(Handler handler, absl::optional<TestCertificate> tls = absl::nullopt,
                          int max_tls_version = 0);
  ~TestHttpServer();

  int port() const { return port_; }
  // "http://127.0.0.1:PORT/path", with https where there is TLS.
  std::string Url(absl::string_view path) const;

  std::vector<TestHttpRequest> requests() const;
  int connections() const;
  // Waits until `count` requests have come in, at most 20 s; true if they have.
  bool WaitForRequests(size_t count) const;
  // Waits until no connection is open any more.
  bool WaitForNoConnection() const;

 private:
  void Accept();
  void Serve(int fd, int number);
  void ServeRequests(TestHttpConnection& connection, int number);
  absl::optional<TestHttpRequest> ReadRequest(TestHttpConnection& connection, std::string& buffer);

  const Handler handler_;
  SSL_CTX* tls_ = nullptr;
  int listener_ = -1;
  int port_ = 0;

  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  int connections_ = 0;
  std::vector<TestHttpRequest> requests_;
  std::set<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace smartkey
