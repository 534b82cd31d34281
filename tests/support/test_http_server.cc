// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace smartkey {

namespace {

constexpr std::chrono::seconds kPatience(20);

SSL_CTX* MakeTls(const TestCertificate& certificate, int max_version) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (max_version != 0) {
    // Versions before 1.2 are below OpenSSL's default security level.
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, max_version);
  }
  BIO* bio = BIO_new_mem_buf(certificate.certificate_pem.data(),
                             static_cast<int>(certificate.certificate_pem.size()));
  X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  bio = BIO_new_mem_buf(certificate.key_pem.data(), static_cast<int>(certificate.key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  if (SSL_CTX_use_certificate(context, x509) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1) {
    std::abort();
  }
  X509_free(x509);
  EVP_PKEY_free(key);
  return context;
}

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// Copies what has come in on `from`; false at its end.
bool Pump(int from, int to) {
  char buffer[16384];
  const ssize_t size = recv(from, buffer, sizeof(buffer), 0);
  return size > 0 && send(to, buffer, static_cast<size_t>(size), MSG_NOSIGNAL) == size;
}

}  // namespace

std::string TestHttpRequest::Header(absl::string_view name) const {
  for (const auto& [header, value] : headers) {
    if (header == name) return value;
  }
  return "";
}

bool TestHttpRequest::HasHeader(absl::string_view name) const {
  for (const auto& [header, value] : headers) {
    if (header == name) return true;
  }
  return false;
}

bool TestHttpConnection::Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ssl_ != nullptr
                             ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                             : send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size <= 0) {
      closed_ = true;
      return false;
    }
    written_ += static_cast<size_t>(size);
    bytes.remove_prefix(static_cast<size_t>(size));
  }
  return true;
}

bool TestHttpConnection::Answer(int status, absl::string_view body, absl::string_view content_type,
                                absl::string_view more_headers) {
  return Write(absl::StrCat("HTTP/1.1 ", status, " Status\r\nContent-Type: ", content_type,
                            "\r\nContent-Length: ", body.size(), "\r\n", more_headers, "\r\n",
                            body));
}

long TestHttpConnection::Read(char* buffer, size_t size) {
  return ssl_ != nullptr ? SSL_read(ssl_, buffer, static_cast<int>(size))
                         : recv(fd_, buffer, size, 0);
}

void TestHttpConnection::WaitForEnd() {
  char buffer[4096];
  while (Read(buffer, sizeof(buffer)) > 0) {
  }
  closed_ = true;
}

void TestHttpConnection::TunnelTo(int port) {
  const int server = Connect(port);
  if (server < 0) return Close();
  Write("HTTP/1.1 200 Connection established\r\n\r\n");
  for (;;) {
    pollfd both[] = {{fd_, POLLIN, 0}, {server, POLLIN, 0}};
    if (poll(both, 2, -1) <= 0) break;
    if (both[0].revents != 0 && !Pump(fd_, server)) break;
    if (both[1].revents != 0 && !Pump(server, fd_)) break;
  }
  close(server);
  Close();
}

TestHttpServer::TestHttpServer(Handler handler, absl::optional<TestCertificate> tls,
                               int max_tls_version)
    : handler_(std::move(handler)) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  if (tls.has_value()) tls_ = MakeTls(*tls, max_tls_version);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 512) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

TestHttpServer::~TestHttpServer() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
  SSL_CTX_free(tls_);
}

std::string TestHttpServer::Url(absl::string_view path) const {
  return absl::StrCat(tls_ != nullptr ? "https" : "http", "://127.0.0.1:", port_, path);
}

std::vector<TestHttpRequest> TestHttpServer::requests() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return requests_;
}

int TestHttpServer::connections() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return connections_;
}

bool TestHttpServer::WaitForRequests(size_t count) const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kPatience, [&] { return requests_.size() >= count; });
}

bool TestHttpServer::WaitForNoConnection() const {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kPatience, [&] { return open_.empty(); });
}

void TestHttpServer::Accept() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const std::lock_guard<std::mutex> lock(mu_);
    if (stopping_) {
      close(fd);
      return;
    }
    open_.insert(fd);
    const int number = ++connections_;
    threads_.emplace_back([this, fd, number] { Serve(fd, number); });
  }
}

void TestHttpServer::Serve(int fd, int number) {
  SSL* ssl = nullptr;
  if (tls_ != nullptr) {
    ssl = SSL_new(tls_);
    SSL_set_fd(ssl, fd);
  }
  if (ssl == nullptr || SSL_accept(ssl) == 1) {
    TestHttpConnection connection(fd, ssl);
    ServeRequests(connection, number);
    if (ssl != nullptr) SSL_shutdown(ssl);
  }
  SSL_free(ssl);
  const std::lock_guard<std::mutex> lock(mu_);
  open_.erase(fd);
  close(fd);
  changed_.notify_all();
}

void TestHttpServer::ServeRequests(TestHttpConnection& connection, int number) {
  std::string buffer;
  while (!connection.closed()) {
    absl::optional<TestHttpRequest> request = ReadRequest(connection, buffer);
    if (!request.has_value()) return;
    request->connection = number;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      requests_.push_back(*request);
      changed_.notify_all();
    }
    handler_(*request, connection);
  }
}

absl::optional<TestHttpRequest> TestHttpServer::ReadRequest(TestHttpConnection& connection,
                                                            std::string& buffer) {
  char chunk[16384];
  const auto read_more = [&] {
    const long size = connection.Read(chunk, sizeof(chunk));
    if (size > 0) buffer.append(chunk, static_cast<size_t>(size));
    return size > 0;
  };
  size_t end;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more()) return absl::nullopt;
  }
  TestHttpRequest request;
  const std::vector<std::string> lines = absl::StrSplit(buffer.substr(0, end), "\r\n");
  const std::vector<std::string> first = absl::StrSplit(lines[0], ' ');
  request.method = first[0];
  request.target = first.size() > 1 ? first[1] : "";
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    request.headers.emplace_back(absl::AsciiStrToLower(parts.first),
                                 std::string(absl::StripAsciiWhitespace(parts.second)));
  }
  size_t length = 0;
  if (!absl::SimpleAtoi(request.Header("content-length"), &length)) length = 0;
  buffer.erase(0, end + 4);
  while (buffer.size() < length) {
    if (!read_more()) return absl::nullopt;
  }
  request.body = buffer.substr(0, length);
  buffer.erase(0, length);
  return request;
}

}  // namespace smartkey
