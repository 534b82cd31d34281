// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "clients/ctl/event_fd.h"

namespace smartkey::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

// Runs on the listener's thread.
struct Answerer {
  std::function<Response(const Request&)> answer;
  std::function<void(const Response&)> sent;
};

constexpr absl::Duration kPageGrace = absl::Seconds(2);
// Browsers open connections ahead of time and leave them silent.
constexpr std::chrono::seconds kPatience(5);
constexpr size_t kMostOctets = 16 * 1024;  // of a request
// A port that is free at one address may be taken at the other.
constexpr int kMostPortsTried = 20;

constexpr char kPage[] = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Back to the terminal</title>
<style>
  :root { --ground: #f3f5f8; --card: #fff; --ink: #1b2430; --soft: #5b6673; --line: #d5dbe3; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #12161c; --card: #1c222b; --ink: #e8ecf1; --soft: #a2adba; --line: #364050; }
  }
  * { box-sizing: border-box; }
  body { margin: 0; padding: 18vh 1rem 2rem; background: var(--ground); color: var(--ink);
         font: 1rem/1.5 system-ui, sans-serif; }
  main { max-width: 27rem; margin: auto; padding: 1.75rem; background: var(--card);
         border: 1px solid var(--line); border-radius: 12px; }
  header { color: var(--soft); font-size: .9rem; }
  h1 { margin: .25rem 0 .75rem; font-size: 1.35rem; line-height: 1.3; }
  p { margin: 0; }
</style>
<main>
<header>smartkeyctl</header>
<h1>Back to the terminal</h1>
<p>This page has done its part and can be closed. Whether the app got its access is said in the
terminal where you began.</p>
</main>
</html>
)";

// Some machines are without IPv6, and then no browser tries it.
bool HasIpv6Loopback() {
  const UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return fd && bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

Response MakeResponse(http::status status) {
  Response response(status, 11);
  response.set(http::field::cache_control, "no-store");
  response.set("Content-Security-Policy",
               "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
  response.set("Referrer-Policy", "no-referrer");
  response.set("X-Content-Type-Options", "nosniff");
  response.keep_alive(false);
  return response;
}

// One request of one connection, which is closed after the answer.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(tcp::socket socket, const Answerer& answerer)
      : stream_(std::move(socket)), answerer_(answerer) {
    parser_.header_limit(kMostOctets);
  }

  void Start() {
    stream_.expires_after(kPatience);
    http::async_read_header(stream_, buffer_, parser_,
                            [self = shared_from_this()](beast::error_code error, size_t) {
                              if (!error) self->Answer();
                            });
  }

 private:
  void Answer() {
    response_ = answerer_.answer(parser_.get());
    response_.prepare_payload();
    stream_.expires_after(kPatience);
    http::async_write(stream_, response_,
                      [self = shared_from_this()](beast::error_code error, size_t) {
                        if (!error) self->answerer_.sent(self->response_);
                        self->stream_.socket().shutdown(tcp::socket::shutdown_send, error);
                      });
  }

  beast::tcp_stream stream_;
  const Answerer& answerer_;
  beast::flat_buffer buffer_{kMostOctets};
  http::request_parser<http::empty_body> parser_;
  Response response_;
};

// One address that is listened at.
class Door {
 public:
  Door(asio::io_context& io, const Answerer& answerer)
      : acceptor_(io), pause_(io), answerer_(answerer) {}

  // False if it cannot be had. `port` 0: any, which is put there.
  bool Bind(const std::string& address, uint16_t& port) {
    const tcp::endpoint endpoint(asio::ip::make_address(address), port);
    beast::error_code error;
    acceptor_.open(endpoint.protocol(), error);
    // Not SO_REUSEPORT: another program of the same user could listen at the same port, and the
    // kernel would share the redirects out between the two.
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && address == "::1") acceptor_.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) return false;
    port = acceptor_.local_endpoint(error).port();
    return !error;
  }

  void Accept() {
    acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) {
        std::make_shared<Exchange>(std::move(socket), answerer_)->Start();
        return Accept();
      }
      // Out of descriptors, as a rule: no use to try at once.
      pause_.expires_after(std::chrono::milliseconds(100));
      pause_.async_wait([this](beast::error_code stopped) {
        if (!stopped) Accept();
      });
    });
  }

 private:
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  const Answerer& answerer_;
};

using Doors = std::vector<std::unique_ptr<Door>>;

// All addresses at one port, or none. `port` as in Door::Bind.
Doors BindAll(asio::io_context& io, const std::vector<std::string>& addresses,
              const Answerer& answerer, uint16_t& port) {
  Doors doors;
  for (const std::string& address : addresses) {
    doors.push_back(std::make_unique<Door>(io, answerer));
    if (!doors.back()->Bind(address, port)) return {};
  }
  return doors;
}

}  // namespace

struct RedirectListener::Rep {
  LoopbackUri uri;
  uint16_t port = 0;
  std::string done_path;
  EventFd ready;

  Mutex mu;
  CondVar page_shown;
  bool arrived ABSL_GUARDED_BY(mu) = false;
  bool shown ABSL_GUARDED_BY(mu) = false;
  absl::optional<Secret> state ABSL_GUARDED_BY(mu);
  Secret query ABSL_GUARDED_BY(mu);

  Answerer answerer{[this](const Request& request) { return Answer(request); },
                    [this](const Response& response) { NoteSent(response); }};
  asio::io_context io{1};
  Doors doors;
  std::thread thread;  // runs `io`, and thereby uses the others

  Response Answer(const Request& request);
  void NoteSent(const Response& response);
  bool Accept(absl::string_view target);
  bool HasArrived();
};

Response RedirectListener::Rep::Answer(const Request& request) {
  const absl::string_view target(request.target().data(), request.target().size());
  const absl::string_view host(request[http::field::host].data(),
                               request[http::field::host].size());
  // A page on the web whose name resolves to 127.0.0.1 has another Host.
  const bool for_us = request.method() == http::verb::get && host == uri.Authority(port);
  if (for_us && target.substr(0, target.find('?')) == uri.path && Accept(target)) {
    Response redirect = MakeResponse(http::status::see_other);
    redirect.set(http::field::location, done_path);
    return redirect;
  }
  if (for_us && target == done_path && HasArrived()) {
    Response page = MakeResponse(http::status::ok);
    page.set(http::field::content_type, "text/html; charset=utf-8");
    page.body() = kPage;
    return page;
  }
  return MakeResponse(http::status::not_found);
}

void RedirectListener::Rep::NoteSent(const Response& response) {
  if (response.result() != http::status::ok) return;
  MutexLock lock(mu);
  shown = true;
  page_shown.NotifyAll();
}

bool RedirectListener::Rep::Accept(absl::string_view target) {
  if (target.find('?') == absl::string_view::npos) return false;
  absl::optional<std::string> answer = RedirectQueryOf(target);
  if (!answer.has_value()) return false;
  MutexLock lock(mu);
  if (arrived || !state.has_value() || !HasState(*answer, state->RevealSecret())) return false;
  arrived = true;
  query = Secret(*std::move(answer));
  ready.Set();
  return true;
}

bool RedirectListener::Rep::HasArrived() {
  MutexLock lock(mu);
  return arrived;
}

absl::StatusOr<std::unique_ptr<RedirectListener>> RedirectListener::Start(const LoopbackUri& uri) {
  auto rep = std::make_unique<Rep>();
  rep->uri = uri;
  rep->done_path = uri.path == "/done" ? "/finished" : "/done";
  std::vector<std::string> addresses = uri.BindAddresses();
  if (addresses.size() > 1 && !HasIpv6Loopback()) addresses.pop_back();
  const int tries = uri.port.has_value() ? 1 : kMostPortsTried;
  for (int i = 0; i < tries && rep->doors.empty(); ++i) {
    rep->port = uri.port.value_or(0);
    rep->doors = BindAll(rep->io, addresses, rep->answerer, rep->port);
  }
  if (rep->doors.empty()) {
    return MakeError(Reason::kRedirectPortBusy,
                     uri.port.has_value()
                         ? absl::StrCat("cannot listen at port ", *uri.port, " of ", uri.host,
                                        ", which the app's redirect URI names")
                         : absl::StrCat("cannot listen at ", uri.host));
  }
  for (const std::unique_ptr<Door>& door : rep->doors) door->Accept();
  rep->thread = std::thread([r = rep.get()] { r->io.run(); });
  return std::unique_ptr<RedirectListener>(new RedirectListener(std::move(rep)));
}

RedirectListener::RedirectListener(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

RedirectListener::~RedirectListener() {
  {
    MutexLock lock(rep_->mu);
    const absl::Time limit = absl::Now() + kPageGrace;
    while (rep_->arrived && !rep_->shown && absl::Now() < limit) {
      rep_->page_shown.WaitFor(rep_->mu, limit - absl::Now());
    }
  }
  rep_->io.stop();
  rep_->thread.join();
}

std::string RedirectListener::uri() const {
  return rep_->uri.WithPort(rep_->port);
}

uint16_t RedirectListener::port() const {
  return rep_->port;
}

void RedirectListener::ExpectState(Secret state) {
  MutexLock lock(rep_->mu);
  rep_->state = std::move(state);
}

int RedirectListener::ready_fd() const {
  return rep_->ready.fd();
}

Secret RedirectListener::TakeQuery() {
  MutexLock lock(rep_->mu);
  return std::move(rep_->query);
}

}  // namespace smartkey::ctl
