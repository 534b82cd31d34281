// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/refusal.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

// What a gRPC client sends: preface, SETTINGS with one entry, WINDOW_UPDATE, HEADERS on stream 1.
std::string ClientOpening() {
  std::string out = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  out.append("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\1", 15);
  out.append("\0\0\4\10\0\0\0\0\0\0\1\0\0", 13);
  out.append("\0\0\3\1\4\0\0\0\1abc", 12);
  return out;
}

TEST(FirstStreamScanner, SeesTheFirstCallHoweverItIsCut) {
  const std::string opening = ClientOpening();
  const size_t header_end = opening.size() - 3;
  for (size_t step = 1; step <= opening.size(); ++step) {
    FirstStreamScanner scanner;
    for (size_t i = 0; i < header_end; i += step) {
      const size_t n = std::min(step, header_end - i);
      EXPECT_EQ(scanner.Feed(absl::string_view(opening).substr(i, n)), i + n == header_end) << step;
    }
  }
}

TEST(FirstStreamScanner, OtherStreamsAndFramesAreNotTheFirstCall) {
  FirstStreamScanner scanner;
  std::string bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  bytes.append("\0\0\1\1\4\0\0\0\3x", 10);  // HEADERS on stream 3
  bytes.append("\0\0\1\0\0\0\0\0\1x", 10);  // DATA on stream 1
  EXPECT_FALSE(scanner.Feed(bytes));
}

TEST(Refusal, IsShortAndConstant) {
  const RefusalBytes bytes = MakeRefusal(8, "too many connections", "");
  EXPECT_EQ(bytes.settings, absl::string_view("\0\0\0\4\0\0\0\0\0", 9));
  EXPECT_LT(bytes.answer.size(), 150u);
  EXPECT_EQ(bytes.answer, MakeRefusal(8, "too many connections", "").answer);
}

TEST(Refusal, LongFieldsHaveLongLengths) {
  // RFC 7541 section 5.1: 127 + 1 as a 7-bit prefix and one more octet.
  const std::string message(128, 'm');
  EXPECT_NE(MakeRefusal(8, message, "").answer.find(absl::StrCat("\x7f\x01", message)),
            std::string::npos);
}

class RefusalDeskTest : public testing::Test {
 protected:
  UniqueFd Connect(uint64_t id, BootTime now) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    desk_.Add(id, UniqueFd(fds[0]), bytes_, now);
    return UniqueFd(fds[1]);
  }
  static std::string Receive(const UniqueFd& fd) {
    char buffer[4096];
    const ssize_t n = recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return n < 0 ? "(nothing)" : std::string(buffer, n);
  }

  const RefusalBytes bytes_ = MakeRefusal(8, "no", "");
  UniqueFd epoll_{epoll_create1(EPOLL_CLOEXEC)};
  RefusalDesk desk_{epoll_.get()};
};

TEST_F(RefusalDeskTest, AnswersWhenTheCallCameAndThenEndsItsHalf) {
  const UniqueFd peer = Connect(7, BootTime());
  EXPECT_EQ(Receive(peer), bytes_.settings);
  const std::string opening = ClientOpening();
  ASSERT_GT(send(peer.get(), opening.data(), opening.size(), MSG_NOSIGNAL), 0);
  EXPECT_TRUE(desk_.OnReadable(7));
  EXPECT_EQ(Receive(peer), bytes_.answer);
  EXPECT_EQ(Receive(peer), "");
  EXPECT_EQ(desk_.size(), 1);
}

TEST_F(RefusalDeskTest, APeerThatGoesOrStaysSilentIsForgotten) {
  { const UniqueFd gone = Connect(1, BootTime()); }
  EXPECT_TRUE(desk_.OnReadable(1));
  EXPECT_EQ(desk_.size(), 0);

  const UniqueFd silent = Connect(2, BootTime());
  EXPECT_LE(desk_.next_expiry(), BootTime() + absl::Seconds(5));
  desk_.Expire(desk_.next_expiry());
  EXPECT_EQ(desk_.size(), 0);
  EXPECT_EQ(desk_.next_expiry(), BootTime::InfiniteFuture());
  EXPECT_FALSE(desk_.OnReadable(2));
}

TEST_F(RefusalDeskTest, AFloodDisplacesTheOldest) {
  std::vector<UniqueFd> peers;
  for (uint64_t id = 1; id <= 300; ++id) peers.push_back(Connect(id, BootTime()));
  EXPECT_EQ(desk_.size(), 256);
  EXPECT_FALSE(desk_.OnReadable(1));
  EXPECT_TRUE(desk_.OnReadable(300));
}

}  // namespace
}  // namespace smartkey
