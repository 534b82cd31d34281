// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/rate_budget.h"
#include "base/unique_fd.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/fair_queue.h"
#include "daemon/rpc/listener.h"
#include "daemon/rpc/peer_identity.h"
#include "daemon/rpc/refusal.h"

namespace smartkey {

// Accepts connections, finds out who is calling, and gives each a gRPC server of its own
// (Connection).
//
// Threads: one accepts, reads what the kernel says of the peer, watches for peers that go, and does
// nothing that can block; builders look callers up (a user database may take its time) and build
// servers; reapers take servers down. A server is handed to a reaper only when none of its calls is
// running, so that a handler which never ends costs its connection and no thread. Builders serve
// uids in turn and one connection of a uid at a time (FairQueue): a user with many connections and
// a slow entry in the user database keeps others waiting for one lookup, not for all of theirs. A
// uid in a container counts as another one than its namesake outside, from the first moment on.
//
// Each connection has two descriptors: gRPC's, and a duplicate that is watched for EPOLLRDHUP. The
// duplicate leaves the epoll set before it is closed: the registration belongs to the open socket,
// which gRPC still has, and would otherwise report a later connection's id.
//
// Refused with a typed status, without a server (refusal.h): kCallerUnidentified,
// kTooManyConnections (in all, for a uid, or for a uid in a short time; the last eighth of all is
// for uids that have few), kNotReady while the user database does not answer, on an admin endpoint
// kNotPermitted and kContainerDenied. A refused connection is closed, so that a client comes back
// with a new one, and the caller is looked up anew.
class ConnectionServer {
 public:
  struct Endpoint {
    Listener listener;
    ServicesFactory services;
    // Only for uid 0 and members of `admin_group`, from the host's namespaces: Caller::admin.
    bool admin = false;
    absl::optional<gid_t> admin_group;
  };

  struct Options {
    // For each endpoint, so that nobody can shut the administrator out. Lowered to what open files
    // allow.
    int max_connections = 2048;
    int max_connections_per_uid = 256;
    // For each endpoint, of all callers together who are no users of the machine: in a container,
    // or of a uid without a login. Uids of theirs cost nothing (subuid(5) lends 65,536).
    int max_connections_of_strangers = 256;
    // New ones of a uid: so many at once, then so many a second.
    int new_connections_at_once = 400;
    int new_connections_per_second = 200;
    absl::Duration first_request_limit = absl::Seconds(10);  // no whole request by then: closed
    Connection::Limits connection;
    absl::Duration idle_grace = absl::Seconds(30);   // after GOAWAY for idleness: closed
    int64_t memory_quota_bytes = 256 * 1024 * 1024;  // gRPC's buffers of all connections
    int builders = 2;
    int reapers = 4;
    bool hold_callers = true;  // with SO_PEERPIDFD, where the kernel has it
    // Who a uid is; runs on the builders.
    UserLookup user = [](uid_t uid) { return LookUpUserEntry(uid); };
    // Told how calls end; outlives the server. Null: nobody.
    CallObserver* calls = nullptr;
    // Told who was kept from an admin endpoint, and why; on the accept thread too, where nobody has
    // been looked up yet: that caller has no name. Must not block. Empty: nobody.
    std::function<void(const Caller&, const absl::Status&)> on_refused_admin;
    // Called on every turn of the accept thread, at least every five seconds: for a watchdog.
    std::function<void()> heartbeat;
  };

  struct Stats {
    int connections = 0;  // being built, serving, or waiting for a handler that has not ended
    int public_connections = 0;  // of them, by kind of endpoint
    int admin_connections = 0;
    int closing = 0;  // of them: closed, but a call has not ended yet
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t timed_out = 0;   // closed for silence or idleness
    uint64_t slow_reaps = 0;  // took longer than a second
    uint64_t accept_pauses = 0;
  };

  // Starts to serve. Call PrepareProcessForRpc() and RaiseFileLimit() first. Errors: kInternal.
  static absl::StatusOr<std::unique_ptr<ConnectionServer>> Start(std::vector<Endpoint> endpoints,
                                                                 Options options,
                                                                 const Clock& clock);

  // Waits for handlers without limit. After a Shutdown that returned false, end the process instead
  // (_exit).
  ~ConnectionServer();

  // For grpc.health.v1: of live connections, and of those to come. "" is the whole daemon; it
  // serves at first.
  void SetHealth(const std::string& service, bool serving);

  // Stops accepting, closes connections without calls, gives the other calls `grace` to end, then
  // cancels them. True when every connection was gone within `limit`, counted from now.
  bool Shutdown(absl::Duration grace, absl::Duration limit);

  Stats stats() const;

 private:
  using UidKey = std::tuple<size_t, uid_t, bool>;  // endpoint, uid, whether in a container
  enum class State { kBuilding, kServing, kClosing };
  struct Entry {
    size_t endpoint = 0;
    UidKey whose;
    bool stranger = false;
    State state = State::kBuilding;
    UniqueFd watch;
    std::shared_ptr<Connection> connection;
  };
  struct BuildJob {
    uint64_t id = 0;
    size_t endpoint = 0;
    UniqueFd socket;
    PeerCredentials peer;
  };
  struct RefuseJob {
    UniqueFd socket;
    const RefusalBytes* bytes;
  };
  // Epoll data: the wake-up, the listeners, and from here on connections, which never share an id.
  static constexpr uint64_t kWakeId = 0;
  static constexpr uint64_t kFirstListenerId = 1;
  static constexpr uint64_t kFirstConnectionId = 1000;

  ConnectionServer(std::vector<Endpoint> endpoints, Options options, const Clock& clock);
  absl::Status Init();

  // The accept thread: connection_server_accept.cc.
  void AcceptLoop();
  void OnEvent(uint64_t id);
  void AcceptFrom(size_t endpoint);
  void Admit(size_t endpoint, UniqueFd socket, PeerCredentials peer);
  void Refuse(UniqueFd socket, const RefusalBytes& bytes);
  void RefuseQueued();
  void PauseAccept(int error);
  void WatchListeners(bool on);
  void Sweep(BootTime now);
  int WaitMilliseconds(BootTime now) const;
  absl::Duration SweepInterval() const;

  void BuildLoop();
  void Build(BuildJob job);
  static absl::Status NotForAdmin();
  static absl::Status ContainerNotForAdmin();
  bool TakeStrangersPlace(uint64_t id);
  void NoteFailedLookup(const absl::Status& error);
  void ReapLoop();
  void Reap(uint64_t id);

  void HandToRefusal(UniqueFd socket, const RefusalBytes& bytes);
  void Close(uint64_t id);
  void QueueReap(uint64_t id);
  void Forget(uint64_t id);
  void ApplyHealth(Connection& connection);
  void Wake();
  std::vector<std::pair<uint64_t, std::shared_ptr<Connection>>> Serving() const;

  // Constant after Init.
  std::vector<Endpoint> endpoints_;
  const Options options_;
  const Clock& clock_;
  const PeerIdentifier identifier_;
  const RefusalBytes refuse_unidentified_, refuse_too_many_, refuse_not_admin_, refuse_container_,
      refuse_no_user_database_, refuse_too_fast_;
  int max_connections_ = 0;
  UniqueFd epoll_, wake_;
  grpc::ResourceQuota quota_;

  // The accept thread's own.
  std::unique_ptr<RefusalDesk> refusals_;
  RateBudget new_connections_;
  bool listening_ = false;
  BootTime resume_accept_;
  BootTime next_sweep_;

  mutable Mutex mu_;
  CondVar build_or_stop_, reap_or_stop_, gone_;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;  // accepts no more
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;  // threads end
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::map<UidKey, int> by_uid_ ABSL_GUARDED_BY(mu_);
  std::map<size_t, int> by_endpoint_ ABSL_GUARDED_BY(mu_);
  std::map<size_t, int> strangers_ ABSL_GUARDED_BY(mu_);  // of by_endpoint_, as far as known
  FairQueue<UidKey, BuildJob> to_build_ ABSL_GUARDED_BY(mu_);
  std::deque<uint64_t> to_reap_ ABSL_GUARDED_BY(mu_);
  std::vector<RefuseJob> to_refuse_ ABSL_GUARDED_BY(mu_);
  HealthTable health_ ABSL_GUARDED_BY(mu_);
  uint64_t health_version_ ABSL_GUARDED_BY(mu_) = 1;
  uint64_t failed_lookups_ ABSL_GUARDED_BY(mu_) = 0;
  Stats stats_ ABSL_GUARDED_BY(mu_);

  std::vector<std::thread> threads_;
};

}  // namespace smartkey
