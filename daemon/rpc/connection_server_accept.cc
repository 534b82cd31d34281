// SPDX-License-Identifier: Apache-2.0
// What ConnectionServer's accept thread does. Nothing in here may block.
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/rpc/connection_server.h"

namespace smartkey {
namespace {

constexpr absl::Duration kTurn = absl::Seconds(5);
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
constexpr int kAcceptsPerTurn = 64;
constexpr int kFew = 8;

bool MayAdminister(const ConnectionServer::Endpoint& endpoint, const PeerCredentials& peer) {
  if (peer.uid == 0) return true;
  return endpoint.admin_group.has_value() &&
         (peer.gid == *endpoint.admin_group ||
          std::find(peer.groups.begin(), peer.groups.end(), *endpoint.admin_group) !=
              peer.groups.end());
}

}  // namespace

void ConnectionServer::AcceptLoop() {
  pthread_setname_np(pthread_self(), "accept");
  epoll_event events[64];
  while (true) {
    if (options_.heartbeat) options_.heartbeat();
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      if (draining_ && listening_) WatchListeners(false);
    }
    const int count =
        epoll_wait(epoll_.get(), events, std::size(events), WaitMilliseconds(clock_.Boot()));
    for (int i = 0; i < count; ++i) OnEvent(events[i].data.u64);

    RefuseQueued();
    const BootTime now = clock_.Boot();
    refusals_->Expire(now);
    Sweep(now);
    if (!listening_ && now >= resume_accept_) {
      MutexLock lock(mu_);
      if (!draining_) WatchListeners(true);
    }
  }
}

int ConnectionServer::WaitMilliseconds(BootTime now) const {
  BootTime next = std::min(now + kTurn, refusals_->next_expiry());
  next = std::min(next, next_sweep_);
  if (!listening_ && resume_accept_ > now) next = std::min(next, resume_accept_);
  return static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(next - now) + 1));
}

absl::Duration ConnectionServer::SweepInterval() const {
  return std::min(kTurn, options_.first_request_limit / 4);
}

void ConnectionServer::OnEvent(uint64_t id) {
  if (id == kWakeId) {
    uint64_t count;
    (void)!read(wake_.get(), &count, sizeof count);
  } else if (id < kFirstConnectionId) {
    if (listening_) AcceptFrom(id - kFirstListenerId);
  } else if (!refusals_->OnReadable(id)) {
    Close(id);  // An id that is gone already is none: ids are never used twice.
  }
}

void ConnectionServer::AcceptFrom(size_t endpoint) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    UniqueFd socket(accept4(endpoints_[endpoint].listener.fd(), nullptr, nullptr,
                            SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) PauseAccept(errno);
      return;
    }
    absl::StatusOr<PeerCredentials> peer =
        ReadPeerCredentials(socket.get(), clock_.Boot(), options_.hold_callers);
    if (!peer.ok()) {
      Refuse(std::move(socket), refuse_unidentified_);
    } else if (endpoints_[endpoint].admin && !MayAdminister(endpoints_[endpoint], *peer)) {
      if (options_.on_refused_admin) {
        Caller caller;
        caller.uid = peer->uid;
        caller.gid = peer->gid;
        caller.pid = peer->pid;
        options_.on_refused_admin(caller, NotForAdmin());
      }
      Refuse(std::move(socket), refuse_not_admin_);
    } else {
      Admit(endpoint, std::move(socket), *std::move(peer));
    }
  }
}

void ConnectionServer::Admit(size_t endpoint, UniqueFd socket, PeerCredentials peer) {
  const UidKey whose(endpoint, peer.uid, identifier_.SeemsContained(peer));
  const std::string account =
      absl::StrCat(endpoint, " ", peer.uid, std::get<2>(whose) ? " in a container" : "");
  if (!new_connections_.Take(account, clock_.Boot()).ok()) {
    return Refuse(std::move(socket), refuse_too_fast_);
  }
  {
    MutexLock lock(mu_);
    if (draining_) return;
    int& of_uid = by_uid_[whose];
    int& of_endpoint = by_endpoint_[endpoint];
    // A few uids with many connections leave room for those that have none yet.
    const int room = of_uid < kFew ? max_connections_ : max_connections_ - max_connections_ / 8;
    if (of_uid < options_.max_connections_per_uid && of_endpoint < room) {
      ++of_uid;
      ++of_endpoint;
      ++stats_.accepted;
      const uint64_t id = next_id_++;
      Entry entry;
      entry.endpoint = endpoint;
      entry.whose = whose;
      entries_.emplace(id, std::move(entry));
      to_build_.Push(whose, {id, endpoint, std::move(socket), std::move(peer)});
      build_or_stop_.NotifyOne();
      next_sweep_ = std::min(next_sweep_, clock_.Boot() + SweepInterval());
      return;
    }
    if (of_uid == 0) by_uid_.erase(whose);
  }
  Refuse(std::move(socket), refuse_too_many_);
}

void ConnectionServer::Refuse(UniqueFd socket, const RefusalBytes& bytes) {
  uint64_t id;
  {
    MutexLock lock(mu_);
    ++stats_.refused;
    id = next_id_++;
  }
  refusals_->Add(id, std::move(socket), bytes, clock_.Boot());
}

void ConnectionServer::RefuseQueued() {
  std::vector<RefuseJob> jobs;
  {
    MutexLock lock(mu_);
    jobs.swap(to_refuse_);
  }
  for (RefuseJob& job : jobs) Refuse(std::move(job.socket), *job.bytes);
}

// Out of descriptors or memory. A level-triggered listener would report the same connection for
// ever.
void ConnectionServer::PauseAccept(int error) {
  resume_accept_ = clock_.Boot() + kAcceptPause;
  WatchListeners(false);
  MutexLock lock(mu_);
  if (stats_.accept_pauses++ % 100 == 0) {
    Log(LogLevel::kWarning, "accepting connections paused", {{"error", strerror(error)}});
  }
}

void ConnectionServer::WatchListeners(bool on) {
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kFirstListenerId + i;
    epoll_ctl(epoll_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, endpoints_[i].listener.fd(),
              &event);
  }
  listening_ = on;
}

// Closes peers that never sent a whole request, and those that stay after gRPC's GOAWAY for
// idleness.
void ConnectionServer::Sweep(BootTime now) {
  if (now < next_sweep_) return;
  for (const auto& [id, connection] : Serving()) {
    const CallTracker::State calls = connection->calls().state();
    const absl::Duration quiet = now - calls.last_activity;
    const absl::Duration limit = calls.had_request ? options_.connection.idle + options_.idle_grace
                                                   : options_.first_request_limit;
    if (calls.active > 0 || quiet < limit) continue;
    Close(id);
    MutexLock lock(mu_);
    ++stats_.timed_out;
  }
  next_sweep_ = now + (stats().connections == 0 ? kTurn : SweepInterval());
}

}  // namespace smartkey
