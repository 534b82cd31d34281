// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "clients/ctl/event_fd.h"
#include "clients/ctl/redirect_wait.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

uint16_t PortOf(const std::string& uri) {
  return *ParseLoopbackUri(uri)->port;
}

sockaddr_in Ipv4Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

sockaddr_in6 Ipv6Loopback(uint16_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = in6addr_loopback;
  return address;
}

// Sends raw bytes to the address and returns everything until the peer closes.
template <typename Address>
std::string ExchangeWith(const Address& address, const std::string& bytes) {
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd fd(socket(generic->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), generic, sizeof(address)) != 0) return "";
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  std::string answer;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd.get(), buffer, sizeof(buffer))) > 0) answer.append(buffer, n);
  return answer;
}

std::string Exchange(uint16_t port, const std::string& bytes) {
  return ExchangeWith(Ipv4Loopback(port), bytes);
}

class RedirectListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = RedirectListener::Start(*ParseLoopbackUri("http://127.0.0.1/callback"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    port_ = PortOf(listener_->uri());
    listener_->ExpectState(Secret::CopyOf("s"));
  }

  std::string Get(const std::string& target, const std::string& method = "GET") {
    return Exchange(port_, absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: 127.0.0.1:", port_,
                                        "\r\n\r\n"));
  }
  bool Arrived() const {
    pollfd fd = {listener_->ready_fd(), POLLIN, 0};
    return poll(&fd, 1, 0) == 1;
  }

  std::unique_ptr<RedirectListener> listener_;
  uint16_t port_ = 0;
};

TEST_F(RedirectListenerTest, TheRedirectIsTakenAndItsQueryKeptUnchanged) {
  const std::string answer = Get("/callback?code=a%2Bb&state=s&iss=https%3A%2F%2Fx");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 303"));
  EXPECT_THAT(answer, HasSubstr("Location: /done\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("a%2Bb")));
  ASSERT_TRUE(Arrived());
  EXPECT_EQ(listener_->TakeQuery().RevealSecret(), "code=a%2Bb&state=s&iss=https%3A%2F%2Fx");
  Get("/done");
}

TEST_F(RedirectListenerTest, TheLastPageHasNoDataAndNoScript) {
  EXPECT_THAT(Get("/done"), StartsWith("HTTP/1.1 404"));
  Get("/callback?code=fake-code&state=s");
  const std::string page = Get("/done");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("Referrer-Policy: no-referrer"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("fake-code")));
}

TEST_F(RedirectListenerTest, ASecondRedirectGetsNothing) {
  Get("/callback?code=first&state=s");
  EXPECT_THAT(Get("/callback?code=second&state=s"), StartsWith("HTTP/1.1 404"));
  EXPECT_EQ(listener_->TakeQuery().RevealSecret(), "code=first&state=s");
  EXPECT_THAT(Get("/callback?code=third&state=s"), StartsWith("HTTP/1.1 404"));
  EXPECT_TRUE(listener_->TakeQuery().empty());
  Get("/done");
}

TEST_F(RedirectListenerTest, EverythingElseIsNotFoundAndDoesNotCount) {
  for (const char* target :
       {"/", "/favicon.ico", "/callback", "/callback?", "/callback?x=1",
        "/callback/?code=a&state=s", "/CALLBACK?code=a&state=s", "/callback2?code=a&state=s",
        "/call%62ack?code=a&state=s", "/x/../callback?code=a&state=s"}) {
    EXPECT_THAT(Get(target), StartsWith("HTTP/1.1 404")) << target;
  }
  EXPECT_THAT(Get("/callback?code=a&state=s", "POST"), StartsWith("HTTP/1.1 404"));
  EXPECT_FALSE(Arrived());
  EXPECT_THAT(Get("/callback?code=a&state=s"), StartsWith("HTTP/1.1 303"));
  Get("/done");
}

TEST_F(RedirectListenerTest, ARedirectOfAnotherLoginIsNotFoundAndDoesNotCount) {
  for (const char* target :
       {"/callback?code=a", "/callback?code=a&state=", "/callback?code=a&state=t",
        "/callback?code=a&state=ss", "/callback?code=a&state=s&state=s",
        "/callback?code=a&state=s&st%61te=t", "/callback?error=x&state=t"}) {
    EXPECT_THAT(Get(target), StartsWith("HTTP/1.1 404")) << target;
  }
  EXPECT_FALSE(Arrived());
  EXPECT_THAT(Get("/callback?code=a&state=%73"), StartsWith("HTTP/1.1 303"));
  EXPECT_EQ(listener_->TakeQuery().RevealSecret(), "code=a&state=%73");
  Get("/done");
}

TEST_F(RedirectListenerTest, BeforeTheStateIsKnownNoRedirectIsTaken) {
  listener_ = *RedirectListener::Start(*ParseLoopbackUri("http://127.0.0.1/callback"));
  port_ = PortOf(listener_->uri());
  EXPECT_THAT(Get("/callback?code=a&state=s"), StartsWith("HTTP/1.1 404"));
  EXPECT_FALSE(Arrived());
  listener_->ExpectState(Secret());
  EXPECT_THAT(Get("/callback?code=a"), StartsWith("HTTP/1.1 303"));
  Get("/done");
}

TEST_F(RedirectListenerTest, ARequestForAnotherHostIsNotFound) {
  const std::string answer =
      Exchange(port_, "GET /callback?code=a&state=s HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404"));
  EXPECT_FALSE(Arrived());
}

TEST_F(RedirectListenerTest, ASilentConnectionDoesNotKeepTheRedirectOut) {
  UniqueFd silent(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Ipv4Loopback(port_);
  ASSERT_EQ(connect(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(Get("/callback?code=a&state=s"), StartsWith("HTTP/1.1 303"));
  Get("/done");
}

TEST_F(RedirectListenerTest, ManySilentAndHalfSaidConnectionsDoNotKeepTheRedirectOut) {
  const sockaddr_in address = Ipv4Loopback(port_);
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 200; ++i) {
    silent.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        connect(silent.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
        0);
    if (i % 2 == 0) {
      ASSERT_EQ(write(silent.back().get(), "GET /call", 9), 9);
    }
  }
  EXPECT_THAT(Get("/callback?code=c&state=s"), StartsWith("HTTP/1.1 303 "));
  Get("/done");
}

TEST_F(RedirectListenerTest, ARequestThatIsTooLongOrNoneIsClosedWithoutAnAnswer) {
  const uint16_t port = PortOf(listener_->uri());
  EXPECT_EQ(
      ExchangeWith(Ipv4Loopback(port), absl::StrCat("GET /callback?code=", std::string(20'000, 'c'),
                                                    "&state=s HTTP/1.1\r\nHost: x\r\n\r\n")),
      "");
  EXPECT_EQ(Exchange(port_, "\x16\x03\x01 this is TLS\r\n\r\n"), "");
  EXPECT_THAT(Get("/callback?code=c&state=s"), StartsWith("HTTP/1.1 303 "));
  Get("/done");
}

TEST_F(RedirectListenerTest, ABusyPortIsSaid) {
  auto second = RedirectListener::Start(
      *ParseLoopbackUri(absl::StrCat("http://127.0.0.1:", port_, "/callback")));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ReasonOf(second.status()), Reason::kRedirectPortBusy);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat(port_)));
}

TEST_F(RedirectListenerTest, AFixedPortIsListenedAtAndFreeAgainAfterwards) {
  listener_.reset();
  auto again = RedirectListener::Start(
      *ParseLoopbackUri(absl::StrCat("http://localhost:", port_, "/callback")));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->uri(), absl::StrCat("http://localhost:", port_, "/callback"));
}

TEST_F(RedirectListenerTest, LocalhostIsListenedAtAtBothItsAddresses) {
  listener_ = *RedirectListener::Start(*ParseLoopbackUri("http://localhost/callback"));
  port_ = listener_->port();
  listener_->ExpectState(Secret::CopyOf("s"));
  const auto get = [this](const std::string& target) {
    return absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: localhost:", port_, "\r\n\r\n");
  };
  EXPECT_THAT(Exchange(port_, get("/callback?code=no&state=t")), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ExchangeWith(Ipv6Loopback(port_), get("/callback?code=a&state=s")),
              StartsWith("HTTP/1.1 303"));
  EXPECT_EQ(listener_->TakeQuery().RevealSecret(), "code=a&state=s");
  // One login: what has come at one address cannot come at the other.
  EXPECT_THAT(Exchange(port_, get("/callback?code=b&state=s")), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Exchange(port_, get("/done")), StartsWith("HTTP/1.1 200"));
}

TEST_F(RedirectListenerTest, LocalhostWithASquatterAtOneAddressIsSaidToBeBusy) {
  const UniqueFd squatter(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in6 any = Ipv6Loopback(0);
  ASSERT_EQ(bind(squatter.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(listen(squatter.get(), 1), 0);
  sockaddr_in6 address = {};
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(squatter.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const auto listener = RedirectListener::Start(
      *ParseLoopbackUri(absl::StrCat("http://localhost:", ntohs(address.sin6_port), "/callback")));
  EXPECT_EQ(ReasonOf(listener.status()), Reason::kRedirectPortBusy);
}

TEST_F(RedirectListenerTest, TheIpv6SpellingIsListenedAtThere) {
  listener_ = *RedirectListener::Start(*ParseLoopbackUri("http://[::1]/callback"));
  port_ = listener_->port();
  EXPECT_EQ(listener_->uri(), absl::StrCat("http://[::1]:", port_, "/callback"));
  listener_->ExpectState(Secret::CopyOf("s"));
  const std::string request =
      absl::StrCat("GET /callback?code=a&state=s HTTP/1.1\r\nHost: [::1]:", port_, "\r\n\r\n");
  EXPECT_EQ(Exchange(port_, request), "");
  EXPECT_THAT(ExchangeWith(Ipv6Loopback(port_), request), StartsWith("HTTP/1.1 303"));
  ExchangeWith(Ipv6Loopback(port_),
               absl::StrCat("GET /done HTTP/1.1\r\nHost: [::1]:", port_, "\r\n\r\n"));
}

// ---- Waiting for it, or for the redirect pasted.

class WaitForRedirectTest : public RedirectListenerTest {
 protected:
  void SetUp() override {
    RedirectListenerTest::SetUp();
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    input_.reset(fds[0]);
    keyboard_.reset(fds[1]);
    pasted_ = std::make_unique<PastedLines>(input_.get());
  }
  void Type(const std::string& text) {
    ASSERT_EQ(write(keyboard_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  absl::StatusOr<Secret> Wait(absl::Duration timeout = absl::Seconds(30)) {
    return WaitForRedirect({listener_.get(), pasted_.get(), interrupt_.fd(), failed_.fd(), "s"},
                           timeout, notice_);
  }

  UniqueFd input_;
  UniqueFd keyboard_;
  std::unique_ptr<PastedLines> pasted_;
  EventFd interrupt_;
  EventFd failed_;
  std::ostringstream notice_;
};

TEST_F(WaitForRedirectTest, TheListenersRedirectEndsIt) {
  Get("/callback?code=a&state=s");
  EXPECT_EQ(Wait()->RevealSecret(), "code=a&state=s");
  Get("/done");
}

TEST_F(WaitForRedirectTest, APastedUrlEndsItAfterOtherTextWasRefused) {
  Type("hello\nhttp://127.0.0.1:1/callback?code=a&state=s\n");
  EXPECT_EQ(Wait()->RevealSecret(), "code=a&state=s");
  EXPECT_THAT(notice_.str(), HasSubstr("Paste the whole address"));
}

TEST_F(WaitForRedirectTest, APastedUrlOfAnotherLoginIsSaidAndTheWaitingGoesOn) {
  Type("http://127.0.0.1:1/callback?code=b&state=t\ncode=c\ncode=a&state=s\n");
  EXPECT_EQ(Wait()->RevealSecret(), "code=a&state=s");
  EXPECT_THAT(notice_.str(), HasSubstr("belongs to another login"));
}

TEST_F(WaitForRedirectTest, APastedUrlLongerThanATerminalLineIsWhole) {
  const std::string query = "code=" + std::string(20000, 'c') + "&state=s";
  Type("http://127.0.0.1:1/callback?" + query + "\n");
  EXPECT_EQ(Wait()->RevealSecret(), query);
}

TEST_F(WaitForRedirectTest, AtTheEndOfTheInputTheListenerGoesOn) {
  keyboard_.reset();
  EXPECT_EQ(ReasonOf(Wait(absl::Milliseconds(50)).status()), Reason::kBrowserTimeout);
  Get("/callback?code=a&state=s");
  EXPECT_TRUE(Wait().ok());
  Get("/done");
}

TEST_F(WaitForRedirectTest, WithoutAListenerTheEndOfTheInputEndsIt) {
  Type("code=a&state=s");
  keyboard_.reset();
  auto query = WaitForRedirect({nullptr, pasted_.get(), -1, -1}, absl::Seconds(30), notice_);
  EXPECT_EQ(query->RevealSecret(), "code=a&state=s");
  query = WaitForRedirect({nullptr, pasted_.get(), -1, -1}, absl::Seconds(30), notice_);
  EXPECT_EQ(ReasonOf(query.status()), Reason::kBrowserTimeout);
}

TEST_F(WaitForRedirectTest, NobodyComingIsATimeout) {
  EXPECT_EQ(ReasonOf(Wait(absl::Milliseconds(20)).status()), Reason::kBrowserTimeout);
}

TEST_F(WaitForRedirectTest, AnInterruptEndsIt) {
  interrupt_.Set();
  EXPECT_EQ(ReasonOf(Wait().status()), Reason::kEnrollmentCancelled);
}

TEST_F(WaitForRedirectTest, TheDaemonsFailureEndsIt) {
  failed_.Set();
  EXPECT_EQ(ReasonOf(Wait().status()), Reason::kEnrollmentExpired);
}

}  // namespace
}  // namespace smartkey::ctl
