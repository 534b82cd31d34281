// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/connection_server.h"

#include <fcntl.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/rpc/rpc_status.h"

namespace smartkey {
namespace {

constexpr absl::Duration kSlowReap = absl::Seconds(1);
constexpr absl::Duration kUserDatabaseRetry = absl::Seconds(5);
constexpr int kReservedFiles = 128;  // store, TPM, curl, journal

RefusalBytes RefusalFor(const absl::Status& error) {
  const grpc::Status status = ToGrpcStatus(error);
  return MakeRefusal(status.error_code(), status.error_message(), status.error_details());
}

RefusalBytes RefusalFor(Reason reason, absl::string_view message) {
  return RefusalFor(MakeError(reason, message));
}

// UNAVAILABLE, which clients try again after, on a new connection.
absl::Status UserDatabaseSilent() {
  return WithRetryAfter(
      WithRemedy(
          MakeError(Reason::kNotReady, "the system's user database does not say who is calling"),
          "try again in a few seconds; if it lasts, the administrator must look at the "
          "user database (getent passwd UID)"),
      kUserDatabaseRetry);
}

// True if the peer has hung up: a server for it would be a waste.
bool HasGone(int socket) {
  char byte;
  return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

int ConnectionsThatFit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  const auto files = static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 24));
  return static_cast<int>(std::max<int64_t>(16, (files - kReservedFiles) / 2));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionServer>> ConnectionServer::Start(
    std::vector<Endpoint> endpoints, Options options, const Clock& clock) {
  // Before the first server is built; not thread-safe.
  grpc::EnableDefaultHealthCheckService(true);
  auto server = std::unique_ptr<ConnectionServer>(
      new ConnectionServer(std::move(endpoints), std::move(options), clock));
  if (absl::Status status = server->Init(); !status.ok()) return status;
  return server;
}

ConnectionServer::ConnectionServer(std::vector<Endpoint> endpoints, Options options,
                                   const Clock& clock)
    : endpoints_(std::move(endpoints)),
      options_(std::move(options)),
      clock_(clock),
      identifier_("/proc", options_.user),
      refuse_unidentified_(RefusalFor(Reason::kCallerUnidentified,
                                      "the caller's uid has no meaning on this system")),
      refuse_too_many_(RefusalFor(Reason::kTooManyConnections, "too many connections are open")),
      refuse_not_admin_(RefusalFor(NotForAdmin())),
      refuse_container_(RefusalFor(ContainerNotForAdmin())),
      refuse_no_user_database_(RefusalFor(UserDatabaseSilent())),
      refuse_too_fast_(RefusalFor(
          WithRetryAfter(WithRemedy(MakeError(Reason::kTooManyConnections,
                                              "too many connections were made in a short time"),
                                    "keep one connection and use it for all calls"),
                         absl::Seconds(1)))),
      quota_("smartkeyd"),
      new_connections_(options_.new_connections_at_once,
                       absl::Seconds(1) / options_.new_connections_per_second, "") {
  quota_.Resize(options_.memory_quota_bytes);
  MutexLock lock(mu_);
  next_id_ = kFirstConnectionId;
  health_[""] = true;
}

absl::Status ConnectionServer::NotForAdmin() {
  return WithRemedy(
      MakeError(Reason::kNotPermitted, "the admin socket is for root and the admin group"),
      "be root, or a member of the administrators' group");
}

absl::Status ConnectionServer::ContainerNotForAdmin() {
  return MakeError(Reason::kContainerDenied, "a process in a container cannot administer the host");
}

absl::Status ConnectionServer::Init() {
  max_connections_ = std::min(options_.max_connections, ConnectionsThatFit());
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  if (!epoll_ || !wake_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return MakeError(Reason::kInternal, absl::StrCat("setting up epoll: ", strerror(errno)));
  }
  refusals_ = std::make_unique<RefusalDesk>(epoll_.get());
  WatchListeners(true);
  threads_.emplace_back([this] { AcceptLoop(); });
  for (int i = 0; i < options_.builders; ++i) threads_.emplace_back([this] { BuildLoop(); });
  for (int i = 0; i < options_.reapers; ++i) threads_.emplace_back([this] { ReapLoop(); });
  return absl::OkStatus();
}

ConnectionServer::~ConnectionServer() {
  if (threads_.empty()) return;
  while (!Shutdown(absl::ZeroDuration(), absl::Hours(1))) {
  }
}

// ---------------------------------------------------------------- builders

void ConnectionServer::BuildLoop() {
  while (true) {
    absl::optional<std::pair<UidKey, BuildJob>> next;
    bool draining;
    {
      MutexLock lock(mu_);
      // Every entry is gone before `stopping_`: nothing is left in the queue then.
      while (!(next = to_build_.Pop()).has_value() && !stopping_) build_or_stop_.Wait(mu_);
      if (!next.has_value()) return;
      draining = draining_;
    }
    if (draining) {
      Forget(next->second.id);
    } else {
      Build(std::move(next->second));
    }
    MutexLock lock(mu_);
    to_build_.Done(next->first);
    build_or_stop_.NotifyOne();  // the uid's next connection may have its turn
  }
}

void ConnectionServer::Build(BuildJob job) {
  const Endpoint& endpoint = endpoints_[job.endpoint];
  if (HasGone(job.socket.get())) return Forget(job.id);

  absl::StatusOr<Caller> caller = identifier_.Identify(job.peer);
  if (!caller.ok()) {
    NoteFailedLookup(caller.status());
    HandToRefusal(std::move(job.socket), refuse_no_user_database_);
    return Forget(job.id);
  }
  if (endpoint.admin && caller->in_container) {
    if (options_.on_refused_admin) options_.on_refused_admin(*caller, ContainerNotForAdmin());
    HandToRefusal(std::move(job.socket), refuse_container_);
    return Forget(job.id);
  }
  caller->admin = endpoint.admin;
  if ((caller->in_container || caller->user_name.empty()) && !TakeStrangersPlace(job.id)) {
    HandToRefusal(std::move(job.socket), refuse_too_many_);
    return Forget(job.id);
  }

  UniqueFd watch(fcntl(job.socket.get(), F_DUPFD_CLOEXEC, 3));
  if (!watch) {
    HandToRefusal(std::move(job.socket), refuse_too_many_);
    return Forget(job.id);
  }
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Create(
      endpoint.services(*caller), std::make_shared<CallTracker>(clock_, options_.calls), quota_,
      options_.connection);
  if (!connection.ok()) {
    Log(LogLevel::kError, "no server for a connection", {{"error", connection.status().message()}});
    return Forget(job.id);
  }
  std::shared_ptr<Connection> serving = *std::move(connection);
  {
    MutexLock lock(mu_);
    entries_[job.id].connection = serving;  // so that SetHealth finds it
  }
  ApplyHealth(*serving);  // before the first question can come
  serving->Serve(std::move(job.socket));
  bool close;
  {
    MutexLock lock(mu_);
    Entry& entry = entries_[job.id];
    entry.watch = std::move(watch);
    entry.state = State::kServing;
    epoll_event event{};
    event.events = EPOLLRDHUP;
    event.data.u64 = job.id;
    // From here on the accept thread may close it, if the peer has gone meanwhile.
    close = epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, entry.watch.get(), &event) != 0 || draining_;
  }
  if (close) Close(job.id);
}

bool ConnectionServer::TakeStrangersPlace(uint64_t id) {
  MutexLock lock(mu_);
  Entry& entry = entries_[id];
  int& strangers = strangers_[entry.endpoint];
  if (strangers >= options_.max_connections_of_strangers) return false;
  ++strangers;
  entry.stranger = true;
  return true;
}

void ConnectionServer::NoteFailedLookup(const absl::Status& error) {
  MutexLock lock(mu_);
  if (failed_lookups_++ % 100 == 0) {
    Log(LogLevel::kWarning, "callers are refused: the user database does not answer",
        {{"error", error.message()}});
  }
}

void ConnectionServer::HandToRefusal(UniqueFd socket, const RefusalBytes& bytes) {
  {
    MutexLock lock(mu_);
    to_refuse_.push_back({std::move(socket), &bytes});
  }
  Wake();
}

// ---------------------------------------------------------------- closing

// Ends a connection from any thread: gRPC sees the socket's end and cancels its calls; when the
// last of them is over, a reaper takes the server down.
void ConnectionServer::Close(uint64_t id) {
  std::shared_ptr<Connection> connection;
  UniqueFd watch;
  {
    MutexLock lock(mu_);
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second.state != State::kServing) return;
    found->second.state = State::kClosing;
    connection = found->second.connection;
    watch = std::move(found->second.watch);
    ++stats_.closing;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch.get(), nullptr);
  }
  shutdown(watch.get(), SHUT_RDWR);
  watch.reset();
  connection->calls().WhenIdle([this, id] { QueueReap(id); });
}

void ConnectionServer::QueueReap(uint64_t id) {
  MutexLock lock(mu_);
  to_reap_.push_back(id);
  reap_or_stop_.NotifyOne();
}

void ConnectionServer::ReapLoop() {
  while (true) {
    uint64_t id;
    {
      MutexLock lock(mu_);
      while (to_reap_.empty() && !stopping_) reap_or_stop_.Wait(mu_);
      if (to_reap_.empty()) return;
      id = to_reap_.front();
      to_reap_.pop_front();
    }
    Reap(id);
  }
}

void ConnectionServer::Reap(uint64_t id) {
  std::shared_ptr<Connection> connection;
  {
    MutexLock lock(mu_);
    connection = std::move(entries_[id].connection);
  }
  const BootTime start = clock_.Boot();
  connection->Shutdown();
  connection.reset();
  if (const absl::Duration took = clock_.Boot() - start; took > kSlowReap) {
    Log(LogLevel::kWarning, "a connection was slow to close",
        {{"milliseconds", absl::ToInt64Milliseconds(took)}});
    MutexLock lock(mu_);
    ++stats_.slow_reaps;
  }
  Forget(id);
}

void ConnectionServer::Forget(uint64_t id) {
  MutexLock lock(mu_);
  const auto found = entries_.find(id);
  const Entry& entry = found->second;
  if (entry.state == State::kClosing) --stats_.closing;
  --by_endpoint_[entry.endpoint];
  if (entry.stranger) --strangers_[entry.endpoint];
  const auto own = by_uid_.find(entry.whose);
  if (--own->second == 0) by_uid_.erase(own);
  entries_.erase(found);
  gone_.NotifyAll();
}

// ---------------------------------------------------------------- from outside

void ConnectionServer::SetHealth(const std::string& service, bool serving) {
  std::vector<std::shared_ptr<Connection>> connections;
  {
    MutexLock lock(mu_);
    const auto told = health_.find(service);
    if (told != health_.end() && told->second == serving) return;
    health_[service] = serving;
    ++health_version_;
    for (const auto& [id, entry] : entries_) {
      if (entry.connection != nullptr) connections.push_back(entry.connection);
    }
  }
  for (const auto& connection : connections) ApplyHealth(*connection);
}

// Two threads may tell one connection different versions; whoever was late sees it and tells again.
void ConnectionServer::ApplyHealth(Connection& connection) {
  uint64_t told = 0;
  while (true) {
    HealthTable health;
    {
      MutexLock lock(mu_);
      if (told == health_version_) return;
      told = health_version_;
      health = health_;
    }
    connection.SetHealth(health);
  }
}

bool ConnectionServer::Shutdown(absl::Duration grace, absl::Duration limit) {
  const BootTime start = clock_.Boot();
  {
    MutexLock lock(mu_);
    draining_ = true;
  }
  Wake();
  while (true) {
    const absl::Duration passed = clock_.Boot() - start;
    for (const auto& [id, connection] : Serving()) {
      if (passed >= grace || connection->calls().state().active == 0) Close(id);
    }
    MutexLock lock(mu_);
    if (entries_.empty()) {
      stopping_ = true;
      break;
    }
    if (passed >= limit) return false;
    gone_.WaitFor(mu_, absl::Milliseconds(50));
  }
  Wake();
  build_or_stop_.NotifyAll();
  reap_or_stop_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return true;
}

std::vector<std::pair<uint64_t, std::shared_ptr<Connection>>> ConnectionServer::Serving() const {
  std::vector<std::pair<uint64_t, std::shared_ptr<Connection>>> serving;
  MutexLock lock(mu_);
  for (const auto& [id, entry] : entries_) {
    if (entry.state == State::kServing) serving.emplace_back(id, entry.connection);
  }
  return serving;
}

void ConnectionServer::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

ConnectionServer::Stats ConnectionServer::stats() const {
  MutexLock lock(mu_);
  Stats stats = stats_;
  stats.connections = static_cast<int>(entries_.size());
  for (const auto& [endpoint, count] : by_endpoint_) {
    (endpoints_[endpoint].admin ? stats.admin_connections : stats.public_connections) += count;
  }
  return stats;
}

}  // namespace smartkey
