// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/metrics_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "tests/clients/temp_dir.h"

namespace smartkey {
namespace {

constexpr char kRequest[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

class MetricsServerTest : public testing::Test {
 protected:
  MetricsServerTest() {
    auto listener = Listener::Create({path_});
    EXPECT_TRUE(listener.ok()) << listener.status();
    // More than a socket's buffer takes at once.
    server_ = std::make_unique<MetricsServer>(*std::move(listener),
                                              [] { return std::string(1 << 20, 'm'); });
  }
  ~MetricsServerTest() override { server_.reset(); }

  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << strerror(errno);
    return fd;
  }

  static std::string Answer(const UniqueFd& client) {
    EXPECT_EQ(send(client.get(), kRequest, strlen(kRequest), MSG_NOSIGNAL),
              static_cast<ssize_t>(strlen(kRequest)));
    std::string answer;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(client.get(), buffer, sizeof buffer, 0)) > 0) answer.append(buffer, n);
    return answer;
  }

  static ptrdiff_t OpenFiles() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }

  TempDir dir_;
  const std::string path_ = dir_.File("metrics.sock");
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, IsAsked_AnswersAllOfItAndCloses) {
  const std::string answer = Answer(Connect());
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, testing::HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n" + std::string(1 << 20, 'm')));
}

TEST_F(MetricsServerTest, ClientDripsItsRequest_IsClosedAndTheNextIsAnswered) {
  const UniqueFd slow = Connect();
  const UniqueFd next = Connect();
  // As often as the server may be waiting for a byte, and never to the end of a line.
  pollfd closed = {slow.get(), POLLRDHUP, 0};
  do {
    send(slow.get(), "G", 1, MSG_NOSIGNAL);
  } while (poll(&closed, 1, 100) == 0);
  EXPECT_THAT(Answer(next), testing::StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsServerTest, ManyConnectAndSayNothing_TheyCostOneDescriptor) {
  const ptrdiff_t before = OpenFiles();
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 32; ++i) silent.push_back(Connect());
  // Until the first one's time is up, and the second has taken its place.
  char byte = 0;
  EXPECT_LE(recv(silent[0].get(), &byte, 1, 0), 0);
  EXPECT_LE(OpenFiles(), before + 32 + 1);
}

}  // namespace
}  // namespace smartkey
