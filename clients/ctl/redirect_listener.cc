// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_listener.h"

#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

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

constexpr absl::Duration kPageGrace = absl::Seconds(2);
// Browsers open connections ahead of time and leave them silent; they must not keep the real one
// out.
constexpr size_t kThreads = 4;
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

void SetSecurityHeaders(httplib::Response& response) {
  response.set_header("Cache-Control", "no-store");
  response.set_header("Content-Security-Policy",
                      "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("X-Content-Type-Options", "nosniff");
}

// Some machines are without IPv6, and then no browser tries it.
bool HasIpv6Loopback() {
  const UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return fd && bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// One address that is listened at, on threads of its own.
class Door {
 public:
  explicit Door(httplib::Server::Handler answer);
  ~Door();
  // False if it cannot be had. `port` 0: any, which is put there.
  bool Bind(const std::string& address, int& port);
  void Open();

 private:
  httplib::Server server_;
  std::thread thread_;
};

Door::Door(httplib::Server::Handler answer) {
  // The library's own choice, SO_REUSEPORT, would let another program of the same user listen at
  // the same port, and the kernel share the redirects out between the two.
  server_.set_socket_options([](socket_t fd) {
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server_.set_keep_alive_max_count(1);
  server_.set_read_timeout(5);
  server_.set_payload_max_length(0);
  server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server_.set_pre_routing_handler(
      [answer = std::move(answer)](const httplib::Request& request, httplib::Response& response) {
        answer(request, response);
        return httplib::Server::HandlerResponse::Handled;
      });
}

Door::~Door() {
  if (!thread_.joinable()) return;
  server_.stop();
  thread_.join();
}

bool Door::Bind(const std::string& address, int& port) {
  if (port != 0) return server_.bind_to_port(address, port);
  port = server_.bind_to_any_port(address);
  return port > 0;
}

void Door::Open() {
  thread_ = std::thread([this] { server_.listen_after_bind(); });
  // The library forgets a stop() that comes before it runs.
  while (!server_.is_running()) std::this_thread::yield();
}

using Doors = std::vector<std::unique_ptr<Door>>;

// All addresses at one port, or none. `port` as in Door::Bind.
Doors BindAll(const std::vector<std::string>& addresses, const httplib::Server::Handler& answer,
              int& port) {
  Doors doors;
  for (const std::string& address : addresses) {
    doors.push_back(std::make_unique<Door>(answer));
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

  Doors doors;  // Last: their threads use the others.

  void Answer(const httplib::Request& request, httplib::Response& response);
  bool Accept(absl::string_view target);
  bool ShowPage();
};

void RedirectListener::Rep::Answer(const httplib::Request& request, httplib::Response& response) {
  SetSecurityHeaders(response);
  // A page on the web whose name resolves to 127.0.0.1 has another Host.
  const bool for_us =
      request.method == "GET" && request.get_header_value("Host") == uri.Authority(port);
  const std::string target_path = request.target.substr(0, request.target.find('?'));
  if (for_us && target_path == uri.path && Accept(request.target)) {
    response.set_redirect(done_path, 303);
  } else if (for_us && request.target == done_path && ShowPage()) {
    response.set_content(kPage, "text/html; charset=utf-8");
  } else {
    response.status = 404;
  }
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

bool RedirectListener::Rep::ShowPage() {
  MutexLock lock(mu);
  if (!arrived) return false;
  shown = true;
  page_shown.NotifyAll();
  return true;
}

absl::StatusOr<std::unique_ptr<RedirectListener>> RedirectListener::Start(const LoopbackUri& uri) {
  auto rep = std::make_unique<Rep>();
  rep->uri = uri;
  rep->done_path = uri.path == "/done" ? "/finished" : "/done";
  std::vector<std::string> addresses = uri.BindAddresses();
  if (addresses.size() > 1 && !HasIpv6Loopback()) addresses.pop_back();
  const auto answer = [r = rep.get()](const httplib::Request& request,
                                      httplib::Response& response) {
    r->Answer(request, response);
  };
  int port = 0;
  const int tries = uri.port.has_value() ? 1 : kMostPortsTried;
  for (int i = 0; i < tries && rep->doors.empty(); ++i) {
    port = uri.port.value_or(0);
    rep->doors = BindAll(addresses, answer, port);
  }
  if (rep->doors.empty()) {
    return MakeError(Reason::kRedirectPortBusy,
                     uri.port.has_value()
                         ? absl::StrCat("cannot listen at port ", *uri.port, " of ", uri.host,
                                        ", which the app's redirect URI names")
                         : absl::StrCat("cannot listen at ", uri.host));
  }
  rep->port = static_cast<uint16_t>(port);
  for (const std::unique_ptr<Door>& door : rep->doors) door->Open();
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
  rep_->doors.clear();
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
